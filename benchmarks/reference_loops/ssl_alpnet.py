"""SSL-ALPNet: local prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_loops.base import ScoresLoop, up

COVERED = 0.95


class SSLALPNetLoop(ScoresLoop):
    """cheng-01037/Self-supervised-Fewshot-Medical-Image-Segmentation."""

    def scores(self, s: Tensor, mask: Tensor, q: Tensor) -> Tensor:
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
