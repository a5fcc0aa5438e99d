"""A loss on the boundary of a segmentation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-7


def boundary_f1_loss(log_probs: Tensor, masks: Tensor, width: int = 3, reach: int = 5) -> Tensor:
    """1 − F1 score of soft boundaries, mean over queries and both classes.

    The boundary of a map p is maxpool(1−p) − (1−p). A boundary pixel counts as found where the
    other boundary, widened by a second pooling, is there too.

    Args:
        log_probs: (N, 2, H, W), background and foreground.
        masks: (N, H, W) in {0, 1}.
        width: θ0, odd: size in pixels of the window that finds the boundary.
        reach: θ, odd: size in pixels of the window within which boundaries meet.

    Source: Bokhovkin & Burnaev, "Boundary Loss for Remote Sensing Imagery Semantic Segmentation",
        ISNN 2019, equations 3–6.
    """
    truth = F.one_hot(masks.long(), 2).movedim(-1, 1).to(log_probs.dtype)
    found, wanted = (_window_max(1 - m, width) - (1 - m) for m in (log_probs.exp(), truth))
    precision = _share(found, _window_max(wanted, reach))
    recall = _share(wanted, _window_max(found, reach))
    return (1 - 2 * precision * recall / (precision + recall + EPS)).mean()


def _window_max(maps: Tensor, size: int) -> Tensor:
    return F.max_pool2d(maps, size, stride=1, padding=size // 2)


def _share(part: Tensor, other: Tensor) -> Tensor:
    """How much of `part` lies in `other`: (N, 2) in 0…1."""
    return (part * other).sum(dim=(2, 3)) / (part.sum(dim=(2, 3)) + EPS)
