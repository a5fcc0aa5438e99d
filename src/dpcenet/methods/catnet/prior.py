"""A first, untrained guess of the query's foreground from the support's."""

from __future__ import annotations

import torch
from torch import Tensor

from dpcenet.nn.attention import to_rows

EPS = 1e-7


def prior_maps(query: Tensor, support: Tensor, cells: Tensor) -> Tensor:
    """Similarity of each query position to its most similar support position inside the mask.

    The mask multiplies the support's features. A cosine ignores their length, so every position
    with any foreground counts fully, and one without any has cosine 0. The largest cosine is
    scaled to 0…1 by its extremes over the query's positions.

    Args:
        query: (N, C, h, w).
        support: (Sh, C, h, w).
        cells: (Sh, h, w), masks at the features' size, hard or soft.

    Returns:
        (N, 1, h, w) in 0…1, the mean over the shots; zero where every mask is empty.

    Source: PFENet (Tian et al., "Prior Guided Feature Enrichment Network", TPAMI 2020), equations
    2 to 5; CAT-Net takes it over.
    """
    target = to_rows(query)[:, None]  # (N, 1, hw, C)
    source = to_rows(support * cells[:, None])  # (Sh, hw, C)
    norms = [torch.linalg.vector_norm(rows, dim=-1, keepdim=True) for rows in (target, source)]
    lengths = norms[0] @ norms[1].transpose(-1, -2)
    cosine = target @ source.transpose(-1, -2) / (lengths + EPS)  # (N, Sh, hw, hw)
    best = cosine.max(dim=-1).values
    low, high = best.amin(dim=-1, keepdim=True), best.amax(dim=-1, keepdim=True)
    prior: Tensor = ((best - low) / (high - low + EPS)).mean(dim=1)
    return prior.reshape(len(query), 1, query.shape[-2], query.shape[-1])
