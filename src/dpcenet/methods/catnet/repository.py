"""The head of CAT-Net's repository, as it works once its two errors in LayerNorm are mended.

It is not the network of the paper (`nn.cat_cascade` is): no mask enters an attention, nothing is
iterated, and what the cross-attention gives is thrown away.

Source: github.com/hust-linyi/CAT-Net at eddb04b, written anew from a description. The modules bear
the names of its weights.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.catnet.prior import prior_maps
from dpcenet.nn.attention import to_maps, to_rows
from dpcenet.nn.pooling import enlarge, shrink

SQUEEZE = 8  # channels of a value for each channel of a query or key


class GridNorm(nn.Module):
    """Layer norm over channels and cells with a factor and an offset for each of their numbers.

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
        size = (maps.shape[-2], maps.shape[-1])
        weight, bias = (enlarge(own[None], size)[0] for own in (self.weight, self.bias))
        return F.layer_norm(maps, maps.shape[1:], weight, bias)


class GridAttention(nn.Module):
    """Attention of positions, an MLP for each position and a `GridNorm`; no residual.

    Args:
        width: channels.
        cells: (h, w) of the norm's grid.
        softmax_over: the axis of the attention matrix that sums to one. The repository takes the
            asking positions in the self-attention, which is unusual, and the telling ones in the
            cross-attention.
    """

    def __init__(
        self, width: int, cells: tuple[int, int], softmax_over: Literal["asking", "telling"]
    ) -> None:
        super().__init__()
        inner = max(1, width // SQUEEZE)
        self.scale = inner**-0.5
        self.axis = -2 if softmax_over == "asking" else -1
        self.query = nn.Conv2d(width, inner, 1)
        self.key = nn.Conv2d(width, inner, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm = GridNorm(width, cells)

    def forward(self, asking: Tensor, telling: Tensor) -> Tensor:
        """(B, C, h, w) twice → (B, C, h, w): what each asking position reads."""
        queries, keys = to_rows(self.query(asking)), to_rows(self.key(telling))
        weights = (self.scale * queries @ keys.transpose(1, 2)).softmax(dim=self.axis)
        read = self.mlp(weights @ to_rows(self.value(telling)))
        normed: Tensor = self.norm(to_maps(read, (asking.shape[-2], asking.shape[-1])))
        return normed


class RepositoryHead(nn.Module):
    """Query features, self-attended and fused with the prior; support features stay as they are.

    Args:
        width: channels.
        cells: (h, w) of the norms' grid, 32×32 for slices of 256×256.
    """

    def __init__(self, width: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.self_attention = GridAttention(width, cells, softmax_over="asking")
        self.conv_fusion = nn.Conv2d(width + 1, width, 1)
        # Nothing that is predicted depends on it and no gradient reaches it. It is held, neither
        # run nor trained, so that the parameters are the repository's.
        self.cross_attention = GridAttention(width, cells, softmax_over="telling")
        self.cross_attention.requires_grad_(False)

    def forward(self, support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
        """(Sh, C, h, w), (Sh, H, W) and (N, C, h, w) → the queries' features (N, C, h, w)."""
        cells = shrink(masks, (support.shape[-2], support.shape[-1]), align_corners=True)
        attended = self.self_attention(query, query)
        prior = prior_maps(attended, support, cells)
        fused: Tensor = self.conv_fusion(torch.cat([attended, prior], dim=1))
        return fused
