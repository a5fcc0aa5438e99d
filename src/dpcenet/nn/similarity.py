"""Cosine similarity of feature maps with prototypes, and what turns a score into a probability."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_maps(features: Tensor, prototypes: Tensor, eps: float = 1e-8) -> Tensor:
    """Cosine of every position with every prototype.

    Args:
        features: (N, C, h, w).
        prototypes: (K, C), the same for all queries, or (N, K, C).
        eps: floor of each norm, so that a zero vector is similar to nothing.

    Returns:
        (N, K, h, w) in −1…1.
    """
    unit_features = F.normalize(features, dim=1, eps=eps)
    unit_prototypes = F.normalize(prototypes, dim=-1, eps=eps)
    if unit_prototypes.ndim == 2:
        return torch.einsum("nchw,kc->nkhw", unit_features, unit_prototypes)
    return torch.einsum("nchw,nkc->nkhw", unit_features, unit_prototypes)


def threshold_probability(cosine: Tensor, threshold: Tensor, scale: float = 20.0) -> Tensor:
    """Foreground probability of a cosine map under a learnt threshold.

    p = 1 − sigmoid(½ (−scale·cos − t)): foreground where cos > −t / scale.

    Args:
        cosine: (..., h, w) in −1…1.
        threshold: t, broadcastable to `cosine`; ADNet starts it at −10.
        scale: factor of the cosine.

    Source: ADNet (Hansen et al., Medical Image Analysis 2022).
    """
    return 1 - torch.sigmoid(0.5 * (-scale * cosine - threshold))


def two_class_log_probs(foreground: Tensor) -> Tensor:
    """Log-probabilities (N, 2, H, W) of background and foreground from p (N, H, W).

    Probabilities are kept one float step away from 0 and 1, as the ADNet lineage does.
    """
    eps = torch.finfo(foreground.dtype).eps
    both = torch.stack([1 - foreground, foreground], dim=1)
    return both.clamp(eps, 1 - eps).log()
