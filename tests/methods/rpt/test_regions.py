"""Farthest points and regions against their definitions."""

from __future__ import annotations

import torch
from numpy.testing import assert_allclose

from dpcenet.methods.rpt.regions import farthest_points, nearest_centre, region_means


def test_a_line_is_halved_and_halved_again() -> None:
    line = torch.stack([torch.zeros(9, dtype=torch.long), torch.arange(9)], dim=1)
    assert farthest_points(line, 5, first=0).tolist() == [0, 8, 4, 2, 6]
    assert farthest_points(line, 3, first=4).tolist() == [4, 0, 8]  # of equally far ones the first


def test_every_new_point_is_the_farthest_from_all_before() -> None:
    points = torch.rand(60, 60, generator=torch.Generator().manual_seed(0)).lt(0.05).nonzero()
    chosen = farthest_points(points, 20, first=3)
    assert chosen[0] == 3 and len(set(chosen.tolist())) == 20
    for i in range(1, 20):
        gaps = torch.cdist(points.double(), points[chosen[:i]].double()).amin(dim=1)
        assert gaps[chosen[i]] == gaps.max()


def test_points_go_to_the_nearest_centre_and_ties_to_the_first() -> None:
    points = torch.tensor([[0, 0], [0, 1], [0, 2], [5, 5]])
    centres = torch.tensor([[0, 0], [0, 2], [4, 4]])
    assert nearest_centre(points, centres).tolist() == [0, 0, 1, 2]


def test_as_many_regions_as_cells_are_the_cells_themselves() -> None:
    features = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    cells = torch.zeros(5, 6, dtype=torch.bool)
    cells[1, 2:5] = True
    means = region_means(features, cells, count=100, first=0)  # more than there are
    assert_allclose(means, features[:, 1, [2, 4, 3]].T)
    assert_allclose(region_means(features, cells, 1, first=2)[0], features[:, cells].mean(dim=1))
