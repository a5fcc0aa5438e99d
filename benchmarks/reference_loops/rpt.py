"""RPT, code of March 2024."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.rpt.model import RPT
from reference_loops.base import EPS, Loop, average, below, predicted_mask, two_classes, up

REGIONS, BLOCKS = 100, 3


class RPTLoop(Loop):
    """YazhouZhu19/RPT."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, RPT)
        self.reduce, self.threshold, self.block = method.reduce, method.threshold, method.block
        self.corner = method.options.small_foreground == "corner"

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encode(support, query)
        s, q = self.reduce(maps["layer3"]).split(1)
        t_s, t_q = self.threshold(maps["fc"]).split(1)
        whole = average(s, mask)
        regions = _regions(s, mask, self.corner)
        found = below(q, whole, t_q)
        for _ in range(BLOCKS):
            weighted = (q * found[:, None]).sum(dim=(-2, -1))
            regions = self._fit(regions, weighted / (found.sum(dim=(-2, -1)) + 1e-5))
            found = below(q, regions.mean(dim=0, keepdim=True) + whole, t_q)
        out = two_classes(found, mask.shape)
        if not self.training:
            return out, out.new_zeros(())
        predicted = predicted_mask(out)
        own = average(q, predicted)
        swapped = two_classes(below(s, own, t_q), mask.shape)
        losses = 0.1 * _periphery(s, mask, whole, t_s) + F.nll_loss(swapped, mask.long())
        return out, losses + 0.1 * F.mse_loss(own, whole)

    def _fit(self, regions: Tensor, query: Tensor) -> Tensor:
        """The transformer block, its weights the package's: regions (K, C), query (1, C)."""
        block = self.block
        scores = regions @ query.T
        cut = ((scores.min() + scores.mean()) / 2).floor()
        weights = torch.where(scores < cut, scores - 10_000, scores).softmax(dim=0)
        x = block.input_norm(weights @ query + regions)
        q, k, v = (
            F.relu(layer(x)).view(len(x), block.heads, -1).transpose(0, 1)
            for layer in (block.w_q, block.w_k, block.w_v)
        )
        attention = (q @ k.mT * x.shape[-1] ** -0.5).softmax(dim=-1)
        mixed = block.w_out((attention @ v).transpose(0, 1).flatten(1))
        x = block.attention_norm(F.relu(mixed) + x)
        out: Tensor = block.mlp_norm(block.mlp(x) + x)
        return out


def _regions(s: Tensor, mask: Tensor, corner: bool) -> Tensor:
    """(100, C): means of the cells nearest to each of 100 farthest points of the mask.

    The repository adds corner cells to a smaller mask; without them it has fewer points.
    """
    cells = up(mask[None], s.shape)[0, 0] > 0
    if corner and cells.sum() < REGIONS:
        cells.view(-1)[:REGIONS] = True
    points = cells.nonzero().numpy()
    chosen = [int(np.random.default_rng(0).integers(len(points)))]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    count = min(REGIONS, len(points))
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    all_distances = ((points[:, None] - points[chosen][None]) ** 2).sum(axis=2)
    nearest = torch.from_numpy(all_distances.argmin(axis=1))
    inside = s[0][:, cells]
    return torch.stack([inside[:, nearest == k].mean(dim=1) for k in range(count)])


def _periphery(s: Tensor, mask: Tensor, whole: Tensor, threshold: Tensor) -> Tensor:
    dilated = F.max_pool2d(mask[None], 3, stride=1, padding=1)[0]
    maps = [below(s, prototype, threshold) for prototype in (average(s, dilated), whole)]
    wider, narrow = (up(m[:, None], mask.shape, corners=True) for m in maps)
    ring = wider - narrow
    log_probs = torch.cat([1 - ring, ring], dim=1).clamp(EPS, 1 - EPS).log()
    return F.nll_loss(log_probs, (dilated - mask).long())
