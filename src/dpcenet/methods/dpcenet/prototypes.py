"""Prototypes of both paths: one for each path (equation 1.10), or one for each cell.

Rows of a matrix are positions: (N·Sh, hw, D), for each of N queries its Sh shots innermost.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.dpcenet.attention import PATHS
from dpcenet.nn.pooling import adjoint_upsample, size_of
from dpcenet.nn.pyramid import squared_distances
from dpcenet.nn.similarity import COSINE_SCALE

EPS = 1e-5  # ε of equation 1.10
UNSEEN = 60.0  # so far below the highest one a logit adds nothing that float32 can hold
NEARNESS = 15.0  # where the penalty on distance starts: e times less at an eighth of the side


def path_weights(support: Tensor, masks: Tensor, queries: int) -> dict[str, Tensor]:
    """M of each path, on the cells of the support: (N·Sh, hw), shots innermost."""
    both = zip(PATHS, (1 - masks, masks), strict=True)
    size = size_of(support)
    return {p: adjoint_upsample(m, size).flatten(1).repeat(queries, 1) for p, m in both}


def path_shares(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which share of each cell belongs to each path, (N·Sh, hw) in 0…1."""
    total = weights["foreground"] + weights["background"]  # pixels that fall on each cell
    return {path: weights[path] / total.clamp_min(EPS) for path in PATHS}


def mean_prototypes(sums: dict[str, Tensor], weights: dict[str, Tensor], queries: int) -> Tensor:
    """ΣMF / max(ΣM, ε) over the positions of all shots (1.10).

    Args:
        sums: of each path ΣMF of each pair (N·Sh, 1, D).
        weights: of each path M (N·Sh, hw).
        queries: N.

    Returns:
        (N, 2, D), background and foreground.
    """
    pair = []
    for path in PATHS:
        total = sums[path].view(queries, -1, sums[path].shape[-1]).sum(dim=1)
        mass = weights[path].view(queries, -1).sum(dim=1, keepdim=True)
        pair.append(total / mass.clamp_min(EPS))
    return torch.stack(pair, dim=1)


class LocalPrototypes(nn.Module):
    """Every cell of F_f and F_b is a prototype, as much as its share of the path says.

    The logit of a path is log Σ_k share_k exp(t cos(F_q, F_k) − d |x_q − x_k|²) over the support's
    cells k, with places x in halves of the slice's longer side, and t and d learnt. So a query's
    cell is compared with what is like it, and near rather than far.

    Deviates from 1.10, which averages a path to one prototype. Local prototypes are SSL-ALPNet's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(COSINE_SCALE))
        self.nearness = nn.Parameter(torch.tensor(NEARNESS).log())

    def forward(self, query: Tensor, rows: dict[str, Tensor], shares: dict[str, Tensor]) -> Tensor:
        """Log-probabilities (N, 2, h, w) of background and foreground.

        Args:
            query: (N, D, h, w).
            rows: of each path F_i (N·Sh, hw, D).
            shares: of each path (N·Sh, hw) in 0…1.
        """
        count, size = len(query), size_of(query)
        asked = self.temperature * F.normalize(query.flatten(2).mT, dim=-1)
        far = self.nearness.exp() * squared_distances(query).to(query.dtype)
        logits = []
        for path in PATHS:
            given = F.normalize(rows[path], dim=-1).view(count, -1, rows[path].shape[-1])
            weight = (shares[path].view(count, 1, -1) + EPS).log()
            shots = given.shape[1] // far.shape[1]
            each = asked @ given.mT - far.repeat(1, shots) + weight
            logits.append(above_unseen(each).logsumexp(dim=-1))
        return torch.stack(logits, dim=1).log_softmax(dim=1).view(count, 2, *size)


def above_unseen(logits: Tensor) -> Tensor:
    """Logits, none farther than `UNSEEN` below the highest one along the last axis.

    Their sum of exponentials stays the same. Gradients of lower ones would be denormal numbers,
    with which a processor multiplies twenty times as slowly.
    """
    return torch.maximum(logits, logits.detach().amax(dim=-1, keepdim=True) - UNSEEN)
