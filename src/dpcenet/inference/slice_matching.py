"""Which slice of one scan matches which slice of another, from the images alone.

A monotone alignment (dynamic programming) of slice descriptors. Slices of both scans run in the
same direction; the path may start and end anywhere, so the scans need only overlap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.support import Matches
from dpcenet.methods.base import Method

FloatMatrix = npt.NDArray[np.float64]
ROWS = 64
"""Slices that are compared together: their descriptors are long."""


def slice_costs(query: FloatMatrix, support: FloatMatrix) -> FloatMatrix:
    """1 − cosine of centred descriptors: (Zq, d), (Zs, d) → (Zq, Zs)."""
    centre = (query.sum(axis=0) + support.sum(axis=0)) / (len(query) + len(support))
    known = _unit(support - centre).T
    parts = (query[first : first + ROWS] for first in range(0, len(query), ROWS))
    return np.concatenate([1 - _unit(part - centre) @ known for part in parts])


def _unit(rows: FloatMatrix) -> FloatMatrix:
    """The same rows (N, d), each of length 1."""
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def align_slices(
    costs: FloatMatrix, query_mm: float, support_mm: float, stiffness: float = 0.3
) -> Matches:
    """For each query slice the support slice that it matches: the cheapest monotone path.

    Args:
        costs: (Zq, Zs), how unlike two slices are.
        query_mm, support_mm: distance between neighbouring slices.
        stiffness: price of a step in the support that is one query step too long or too short.

    Returns:
        (Zq,) indices into the support, never decreasing.
    """
    count = costs.shape[1]
    steps = (np.arange(count)[None, :] - np.arange(count)[:, None]) * support_mm  # from j to j'
    price = stiffness * np.minimum(np.abs(steps - query_mm) / query_mm, 3.0)
    price[steps < 0] = np.inf
    total = costs[0].copy()
    origin = np.zeros(costs.shape, dtype=np.int64)
    for i in range(1, len(costs)):
        reach = total[:, None] + price
        origin[i] = reach.argmin(axis=0)
        total = reach.min(axis=0) + costs[i]
    path = np.empty(len(costs), dtype=np.int64)
    path[-1] = total.argmin()
    for i in range(len(costs) - 1, 0, -1):
        path[i - 1] = origin[i, path[i]]
    return path


def match_slices(method: Method, support: EncodedScan, query: EncodedScan) -> Matches:
    """For each slice of the query the support slice that it matches, from features alone."""
    costs = compare_slices(method, support, query)
    return align_slices(costs, query.spacing[0], support.spacing[0])


def compare_slices(method: Method, support: EncodedScan, query: EncodedScan) -> FloatMatrix:
    """(Zq, Zs), how unlike each slice of the query is to each of the support."""
    return slice_costs(*descriptors(method, query, support))


def descriptors(method: Method, *scans: EncodedScan) -> list[FloatMatrix]:
    """(Z, d) of each scan, to be compared with one another.

    A scan differs more from another than its slices from one another; so a method may see them
    from their scan's own mean. A single slice has none.
    """
    rows = [method.describe(scan.features) for scan in scans]
    for scan in scans:
        scan.give_back()
    if method.own_mean and min(map(len, rows)) > 1:
        for each in rows:
            each -= each.mean(axis=0)
    return rows
