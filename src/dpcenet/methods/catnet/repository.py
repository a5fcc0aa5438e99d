"""The head of CAT-Net's repository, with its two errors in LayerNorm corrected.

It is not the network of the paper (that is `cascade.py`): no mask enters an attention, nothing is
iterated, and the output of the cross-attention is not used.

Source: github.com/hust-linyi/CAT-Net at eddb04b, written anew from a description. The modules have
the names of its weights.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.catnet.cascade import SQUEEZE, prior_maps
from dpcenet.nn.attention import to_maps, to_rows
from dpcenet.nn.pooling import enlarge, shrink, size_of


class GridNorm(nn.Module):
    """Layer norm over channels and cells with a factor and an offset for each channel and cell.

    Deviates: on another grid than its own the factors and offsets are interpolated, where the
    repository stops.

    Args:
        width: channels.
        cells: (h, w) of its own grid.
    """

    def __init__(self, width: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, *cells))
        self.bias = nn.Parameter(torch.zeros(width, *cells))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C, h, w)."""
        size = size_of(maps)
        weight, bias = (enlarge(own[None], size)[0] for own in (self.weight, self.bias))
        return F.layer_norm(maps, maps.shape[1:], weight, bias)


class GridAttention(nn.Module):
    """Attention of positions, an MLP for each position and a `GridNorm`; no residual.

    Args:
        width: channels.
        cells: (h, w) of the norm's grid.
        softmax_over: the axis of the attention matrix that sums to one. The repository takes the
            target positions in the self-attention, which is unusual, and the source in the
            cross-attention.
    """

    def __init__(
        self, width: int, cells: tuple[int, int], softmax_over: Literal["target", "source"]
    ) -> None:
        super().__init__()
        inner = max(1, width // SQUEEZE)
        self.scale = inner**-0.5
        self.axis = -2 if softmax_over == "target" else -1
        self.query = nn.Conv2d(width, inner, 1)
        self.key = nn.Conv2d(width, inner, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm = GridNorm(width, cells)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """(B, C, h, w) twice → (B, C, h, w): what each target position reads."""
        queries, keys = to_rows(self.query(target)), to_rows(self.key(source))
        weights = (self.scale * queries @ keys.transpose(1, 2)).softmax(dim=self.axis)
        read = self.mlp(weights @ to_rows(self.value(source)))
        normed: Tensor = self.norm(to_maps(read, size_of(target)))
        return normed


class RepositoryHead(nn.Module):
    """Query features, self-attended and fused with the prior; support features stay as they are.

    Args:
        width: channels.
        cells: (h, w) of the norms' grid, 32×32 for slices of 256×256.
    """

    def __init__(self, width: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.self_attention = GridAttention(width, cells, softmax_over="target")
        self.conv_fusion = nn.Conv2d(width + 1, width, 1)
        # Never run nor trained: it is here so that the parameters are the repository's.
        self.cross_attention = GridAttention(width, cells, softmax_over="source")
        self.cross_attention.requires_grad_(False)

    def forward(self, support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
        """(Sh, C, h, w), (Sh, H, W) and (N, C, h, w) → the queries' features (N, C, h, w)."""
        cells = shrink(masks, size_of(support), align_corners=True)
        attended = self.self_attention(query, query)
        prior = prior_maps(attended, support, cells)
        fused: Tensor = self.conv_fusion(torch.cat([attended, prior], dim=1))
        return fused
