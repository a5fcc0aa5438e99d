"""Cosine similarity with prototypes, ADNet's threshold of it, log-probabilities of two classes.

ADNet has one foreground prototype and none of the background: a cell is foreground where its cosine
with the prototype exceeds a learnt threshold. Q-Net, CAT-Net and RPT take the prototype, the
features or the threshold from elsewhere, and use the same functions.

Source: ADNet (Hansen et al., Medical Image Analysis 2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.nn.pooling import enlarge, mean_prototype

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


def foreground_probability(query: Tensor, prototypes: Tensor, threshold: Tensor) -> Tensor:
    """p = 1 − sigmoid(½ (−20 cos − t)) of every cell: foreground where cos > −t / 20.

    Args:
        query: (N, C, h, w).
        prototypes: (1, C), the same for all queries, or (N, C).
        threshold: t, of one element, or of N: one for each query. ADNet starts it at −10.

    Returns:
        (N, h, w) in 0…1.
    """
    # The official operation, to the last bit: gradients of t magnify rounding errors.
    cosine = F.cosine_similarity(query, prototypes[..., None, None], dim=1)
    return 1 - torch.sigmoid(0.5 * (-COSINE_SCALE * cosine - threshold.reshape(-1, 1, 1)))


def prototype_probability(
    support: Tensor, masks: Tensor, query: Tensor, threshold: Tensor
) -> Tensor:
    """`foreground_probability` (N, h, w) of the queries by the supports' `mean_prototype`."""
    return foreground_probability(query, mean_prototype(support, masks), threshold)


def hard_cells(probability: Tensor) -> Tensor:
    """Float in {0, 1}, of the same shape: where the foreground is more probable; no gradient."""
    return (probability > 1 - probability).to(probability.dtype).detach()


def enlarged_log_probs(probability: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities of cells (N, h, w) → log-probabilities of pixels (N, 2, *size).

    The lineage interpolates probabilities with corners aligned, although it enlarges features
    without.
    """
    return two_class_log_probs(enlarge(probability[:, None], size, align_corners=True)[:, 0])


def prototype_log_probs(
    support: Tensor, masks: Tensor, query: Tensor, threshold: Tensor, size: tuple[int, int]
) -> Tensor:
    """`prototype_probability` of the queries as log-probabilities of pixels (N, 2, *size)."""
    return enlarged_log_probs(prototype_probability(support, masks, query, threshold), size)
