"""Farthest-point sampling, and the mean feature of each region that it makes of a mask."""

from __future__ import annotations

import torch
from torch import Tensor


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
    points = cells.nonzero().cpu()  # the loop is short steps, each waiting for the one before
    count = min(count, len(points))
    centres = points[farthest_points(points, count, first)]
    region = nearest_centre(points, centres).to(features.device)
    member = torch.nn.functional.one_hot(region, count).to(features.dtype)  # (P, K)
    return (features[:, cells] @ member / member.sum(dim=0)).T


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum(dim=-1)
