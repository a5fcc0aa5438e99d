"""PANet and ADNet: one prototype for each class, or one and a threshold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.adnet import ADNet
from dpcenet.methods.base import Method
from reference_loops.base import Loop, ScoresLoop, average, below, two_classes


class PANetLoop(ScoresLoop):
    """kaixin96/PANet, one way and one shot."""

    def scores(self, s: Tensor, mask: Tensor, q: Tensor) -> Tensor:
        pair = [average(s, m)[..., None, None] for m in (1 - mask, mask)]
        return torch.stack([20 * F.cosine_similarity(q, p, dim=1) for p in pair], dim=1)


class ADNetLoop(Loop):
    """sha168/ADNet."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, ADNet)
        self.reduce, self.threshold = method.reduce, method.threshold

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        s, q = self.reduce(self.only(support, query)).split(1)
        found = below(q, average(s, mask), self.threshold)
        out = two_classes(found, mask.shape)
        if not self.training:
            return out, out.new_zeros(())
        swapped = below(s, average(q, (found > 0.5).float()), self.threshold)
        align = F.nll_loss(two_classes(swapped, mask.shape), mask.long())
        return out, align + self.threshold[0] / 20
