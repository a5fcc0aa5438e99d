"""RPT's regions of the support, and the block that suppresses those that do not fit a query."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SUPPRESSED = 10_000.0  # subtracted from a score: its softmax weight is exactly zero


def farthest_points(points: Tensor, count: int, first: int) -> Tensor:
    """Points that lie far from each other: each is the farthest from all before it.

    Args:
        points: (P, D) integers, all different.
        count: how many to take, at most P.
        first: index of the first one.

    Returns:
        (count,) indices of points; of equally far ones the first in `points` is taken.

    Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.
    """
    chosen = torch.empty(count, dtype=torch.long, device=points.device)
    chosen[0] = first
    distance = _squared_distance(points, points[first])
    for i in range(1, count):
        chosen[i] = distance.argmax()
        distance = distance.minimum(_squared_distance(points, points[chosen[i]]))
    return chosen


def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Index (P,) of the centre (K, D) that is nearest to each point (P, D); the first of ties."""
    return _squared_distance(points[:, None], centres).argmin(dim=1)


def region_means(features: Tensor, cells: Tensor, count: int, first: int) -> Tensor:
    """Mean feature of every region of a mask of cells.

    The regions are the cells nearest to each of `count` farthest points.

    Args:
        features: (C, h, w).
        cells: (h, w) bool, at least one True.
        count: how many regions; as many as there are cells where those are fewer.
        first: which of the cells, in row-major order, is the first centre.

    Returns:
        (K, C), K = min(count, number of cells). No region is empty: a centre is in its own.
    """
    points = cells.nonzero().cpu()  # short steps, one after the other: slow on a GPU
    count = min(count, len(points))
    centres = points[farthest_points(points, count, first)]
    region = nearest_centre(points, centres).to(features.device)
    member = F.one_hot(region, count).to(features.dtype)  # (P, K)
    return (features[:, cells] @ member / member.sum(dim=0)).T


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum(dim=-1)


def filtered_weights(regions: Tensor, query: Tensor) -> Tensor:
    """Softmax over the products of the regions with the query, without the low ones.

    Scores a = P q below the query's own threshold ⌊(min a + mean a) / 2⌋ get no weight. The
    threshold is a step: no gradient goes through it.

    Args:
        regions: P, (N, K, C).
        query: q, (N, C).

    Returns:
        (N, K), each row sums to one.
    """
    scores = torch.einsum("nkc,nc->nk", regions, query)
    low, mean = scores.amin(dim=1, keepdim=True), scores.mean(dim=1, keepdim=True)
    threshold = ((low + mean) / 2).floor()
    return (scores - SUPPRESSED * (scores < threshold)).softmax(dim=1)


class RegionBlock(nn.Module):
    """Search and filter, self-attention among the regions, and an MLP: (N, K, C) → (N, K, C).

    Args:
        width: C.
        heads: attention heads; each is as wide as C.
        hidden: width of the MLP.
        dropout: of the attention and of its output, in training.

    Source: RPT (Zhu et al., MICCAI 2023), Figure 2; the ReLU after each of its projections is the
        repository's.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.input_norm = nn.LayerNorm(width)
        self.w_q, self.w_k, self.w_v = (nn.Linear(width, heads * width) for _ in range(3))
        self.w_out = nn.Linear(heads * width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, regions: Tensor, query: Tensor) -> Tensor:
        """Regions (N, K, C) and the query's prototype (N, C) → regions (N, K, C)."""
        weights = filtered_weights(regions, query)
        x: Tensor = self.input_norm(weights[..., None] * query[:, None] + regions)
        x = self.attention_norm(self._attend(x) + x)
        out: Tensor = self.mlp_norm(self.mlp(x) + x)
        return out

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = (  # (N, heads, K, C)
            F.relu(layer(x)).view(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for layer in (self.w_q, self.w_k, self.w_v)
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        mixed = self.w_out(attended.transpose(1, 2).flatten(2))
        return F.relu(F.dropout(mixed, self.dropout, self.training))
