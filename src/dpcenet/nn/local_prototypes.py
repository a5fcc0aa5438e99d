"""Prototypes of windows, and a score by soft assignment to them.

Source: SSL-ALPNet's adaptive local prototype pooling (Ouyang et al., ECCV 2020).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dpcenet.nn.similarity import cosine_maps

EPS = 1e-4  # floor of the norms


def window_means(maps: Tensor, window: int) -> Tensor:
    """Means over window×window cells, side by side: (B, C, h, w) → (B·cells, C).

    A rest of the map that fills no window is left out; a map smaller than the window is one window.
    """
    size = min(window, maps.shape[-2], maps.shape[-1])
    return F.avg_pool2d(maps, size).flatten(2).transpose(1, 2).flatten(0, 1)


def local_prototypes(features: Tensor, masks: Tensor, window: int, coverage: float) -> Tensor:
    """Mean features of the windows that a mask covers.

    Args:
        features: (Sh, C, h, w).
        masks: (Sh, h, w) in 0…1, soft at the border.
        window: side of a window in cells.
        coverage: a window counts where the mask's mean is greater.

    Returns:
        (K, C), windows of all shots; K may be 0.
    """
    covered = window_means(masks[:, None], window)[:, 0] > coverage
    return window_means(features, window)[covered]


def assigned_score(query: Tensor, prototypes: Tensor, scale: float = 20.0) -> Tensor:
    """Σ_k softmax_k(d) d_k with d_k = scale·cos(query, p_k): near the best prototype's score.

    Args:
        query: (N, C, h, w).
        prototypes: (K, C), at least one.
        scale: factor of the cosine.

    Returns:
        (N, h, w).
    """
    similarity = scale * cosine_maps(query, prototypes, eps=EPS)
    return (similarity.softmax(dim=1) * similarity).sum(dim=1)
