"""SSL-ALPNet: local prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.ssl_alpnet import SSLALPNet
from reference_loops.base import Loop, predicted_mask, up

COVERED = 0.95


class SSLALPNetLoop(Loop):
    """cheng-01037/Self-supervised-Fewshot-Medical-Image-Segmentation."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, SSLALPNet)
        self.reduce = method.reduce

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        s, q = self.reduce(self.only(support, query)).split(1)
        scores = self._scores(s, mask, q)
        out = up(scores, mask.shape).log_softmax(dim=1)
        if not self.training:
            return out, out.new_zeros(())
        swapped = up(self._scores(q, predicted_mask(scores), s), mask.shape)
        return out, F.nll_loss(swapped.log_softmax(dim=1), mask.long())

    def _scores(self, s: Tensor, mask: Tensor, q: Tensor) -> Tensor:
        foreground, background = (up(m[None], s.shape) for m in (mask, 1 - mask))
        kinds = [self._windows(s, background)]
        whole = (s * foreground).sum(dim=(-2, -1)) / (foreground.sum() + 1e-5)
        large = F.avg_pool2d(foreground, 4).max() >= COVERED
        kinds.append(torch.cat([self._windows(s, foreground), whole]) if large else whole)
        return torch.stack([_score(q, prototypes) for prototypes in kinds], dim=1)

    def _windows(self, s: Tensor, mask: Tensor) -> Tensor:
        """Prototypes (K, C) of the windows that the mask covers."""
        window = 4 if self.training else 2
        pooled = F.avg_pool2d(s, window)[0].flatten(1).T
        return pooled[F.avg_pool2d(mask, window).flatten() > COVERED]


def _score(q: Tensor, prototypes: Tensor) -> Tensor:
    """(1, h, w): the cosines with all prototypes, weighted by their own softmax."""
    unit = [
        x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-4)
        for x in (q, prototypes)
    ]
    cosines = 20 * F.conv2d(unit[0], unit[1][..., None, None])
    return (cosines * cosines.softmax(dim=1)).sum(dim=1)
