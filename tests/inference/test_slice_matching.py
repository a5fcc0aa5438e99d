"""Which slice matches which: found on made descriptors where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.inference.slice_matching import align_slices, slice_costs
from dpcenet.nn.pooling import describe_slices


def anatomy(heights: np.ndarray) -> np.ndarray:
    """Descriptors (Z, 24) that change smoothly along the body."""
    centres = np.linspace(0, 200, 24)
    return np.exp(-(((heights[:, None] - centres) / 25) ** 2))


@pytest.mark.parametrize(("query_mm", "support_mm"), [(8.0, 8.0), (4.0, 8.0), (10.0, 5.0)])
def test_slices_at_one_height_find_each_other(query_mm: float, support_mm: float) -> None:
    support = np.arange(20, 180, support_mm)
    query = np.arange(50, 150, query_mm)
    noise = np.random.default_rng(0).normal(0, 0.02, (len(query), 24))
    costs = slice_costs(anatomy(query) + noise, anatomy(support))
    path = align_slices(costs, query_mm, support_mm)
    assert np.abs(support[path] - query).max() <= support_mm
    assert (np.diff(path) >= 0).all()


def test_a_query_that_reaches_beyond_stays_at_the_end() -> None:
    support, query = np.arange(60, 140, 8.0), np.arange(20, 180, 8.0)
    path = align_slices(slice_costs(anatomy(query), anatomy(support)), 8.0, 8.0)
    assert path[0] == 0 and path[-1] == len(support) - 1
    middle = (query >= 70) & (query <= 130)
    assert np.abs(support[path[middle]] - query[middle]).max() <= 8


def test_one_slice_is_enough() -> None:
    assert align_slices(np.array([[0.5, 0.1, 0.9]]), 5.0, 5.0).tolist() == [1]


def test_descriptors_are_pooled_maps() -> None:
    maps = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    found = describe_slices(maps, cells=2)
    assert found.shape == (2, 12)
    assert found[0, 0] == pytest.approx(maps[0, 0, :4, :4].mean().item())
