"""Cosine similarity of feature maps with prototypes, and log-probabilities of two classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_SCALE = 20.0  # factor of cosines in PANet, SSL-ALPNet, ADNet and those after it


def cosine_maps(features: Tensor, prototypes: Tensor, eps: float = 1e-8) -> Tensor:
    """Cosine of every position with every prototype.

    Args:
        features: (N, C, h, w).
        prototypes: (K, C), the same for all queries, or (N, K, C).
        eps: floor of each norm, so that a zero vector has similarity 0.

    Returns:
        (N, K, h, w) in −1…1.
    """
    unit_features = F.normalize(features, dim=1, eps=eps)
    unit_prototypes = F.normalize(prototypes, dim=-1, eps=eps)
    if unit_prototypes.ndim == 2:
        return torch.einsum("nchw,kc->nkhw", unit_features, unit_prototypes)
    return torch.einsum("nchw,nkc->nkhw", unit_features, unit_prototypes)


def two_class_log_probs(foreground: Tensor) -> Tensor:
    """Log-probabilities (N, 2, H, W) of background and foreground from p (N, H, W).

    Probabilities are kept one float step away from 0 and 1, as the ADNet lineage does.
    """
    eps = torch.finfo(foreground.dtype).eps
    both = torch.stack([1 - foreground, foreground], dim=1)
    return both.clamp(eps, 1 - eps).log()
