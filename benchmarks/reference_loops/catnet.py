"""CAT-Net, what its repository computes once its two errors in LayerNorm are mended."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.catnet.model import CATNet
from dpcenet.methods.catnet.repository import GridAttention, RepositoryHead
from reference_loops.base import Loop, average, below, two_classes, up


class CATNetLoop(Loop):
    """hust-linyi/CAT-Net."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, CATNet) and isinstance(method.head, RepositoryHead)
        self.reduce, self.threshold, self.head = method.reduce, method.threshold, method.head

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        s, q = self.reduce(self.only(support, query)).split(1)
        within, across = self.head.self_attention, self.head.cross_attention
        _read(within, s, s, axis=1)  # thrown away
        attended = _read(within, q, q, axis=1)
        fused = self.head.conv_fusion(torch.cat([attended, _prior(attended, s, mask)], dim=1))
        with torch.no_grad():  # what comes of these two is overwritten
            _read(across, s, fused, axis=2)
            _read(across, fused, s, axis=2)
        found = below(fused, average(s, mask), self.threshold)
        out = two_classes(found, mask.shape)
        if not self.training:
            return out, out.new_zeros(())
        swapped = below(s, average(fused, (found > 0.5).float()), self.threshold)
        return out, F.nll_loss(two_classes(swapped, mask.shape), mask.long())


def _read(block: GridAttention, asking: Tensor, telling: Tensor, axis: int) -> Tensor:
    """Attention with its matrix written out, an MLP and a norm; the weights are the package's."""
    queries = block.query(asking).flatten(2).mT
    keys = block.key(telling).flatten(2)
    weights = (block.scale * queries @ keys).softmax(dim=axis)
    rows = block.mlp(weights @ block.value(telling).flatten(2).mT)
    maps = rows.mT.reshape(asking.shape)
    return F.layer_norm(maps, maps.shape[1:], block.norm.weight, block.norm.bias)


def _prior(q: Tensor, s: Tensor, mask: Tensor) -> Tensor:
    """(1, 1, h, w): the largest cosine with the support inside the mask, brought to 0…1."""
    inside = s * up(mask[None], s.shape, corners=True)
    a, b = q.flatten(2)[0].T, inside.flatten(2)[0]
    lengths = torch.linalg.vector_norm(a, dim=1)[:, None] * torch.linalg.vector_norm(b, dim=0)
    best = (a @ b / (lengths + 1e-7)).max(dim=1).values
    scaled = (best - best.min()) / (best.max() - best.min() + 1e-7)
    return scaled.view(1, 1, *q.shape[-2:])
