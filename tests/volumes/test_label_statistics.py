"""What is measured of labels, against plain NumPy over all voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcenet.types import Volume
from dpcenet.volumes.statistics import (
    COLUMNS,
    LabelStatistics,
    largest_diameter_mm,
    measure_labels,
)
from made import moved

STRAIGHT = np.array([[0, 0, -2.0, 30], [0, -1.5, 0, 20], [4.0, 0, 0, -10], [0, 0, 0, 1]])


def scan(seed: int) -> tuple[Volume, Volume]:
    """Intensities and labels 2 and 5, of which 5 has one voxel."""
    random = np.random.default_rng(seed)
    image = random.normal(50, 20, (5, 7, 8))
    labels = (random.random((5, 7, 8)) < 0.2).astype(np.uint8) * 2
    labels[4, 6, 7] = 5
    return Volume(image, STRAIGHT), Volume(labels, STRAIGHT)


def oracle(image: np.ndarray, labels: np.ndarray, affine: np.ndarray, value: int) -> dict:
    """Voxel by voxel, in RAS mm."""
    places, values = [], []
    for index in itertools.product(*(range(n) for n in labels.shape)):
        if labels[index] == value:
            places.append((affine @ [*index, 1])[:3])
            values.append(float(image[index]))
    at, ordered = np.array(places), sorted(values)
    n, mean = len(values), sum(values) / len(values)

    def percentile(share: float) -> float:
        place = share * (n - 1)
        low = int(place)
        high = min(low + 1, n - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    return {
        "ml": n * 2.0 * 1.5 * 4.0 / 1000,
        "voxels": n,
        "mean": mean,
        "sd": (sum((v - mean) ** 2 for v in values) / n) ** 0.5,
        "percentiles": [percentile(p) for p in (0.05, 0.25, 0.5, 0.75, 0.95)],
        "extent_mm": np.ptp(at, axis=0) + np.array([2.0, 1.5, 4.0]),
        "centre_mm": at.mean(axis=0),
        "diameter_mm": max(np.linalg.norm(a - b) for a in at for b in at),
    }


@pytest.mark.parametrize("value", [2, 5])
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 100),
    permutation=st.permutations(range(3)).map(tuple),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_statistics_are_those_of_all_voxels_in_any_order_of_axes(
    value: int, seed: int, permutation: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    image, labels = scan(seed)
    expected = oracle(image.data, labels.data, STRAIGHT, value)
    stored, drawn = (moved(each, permutation, flips) for each in (image, labels))
    found = measure_labels(stored.data, drawn.data, stored.affine)
    assert list(found) == [2, 5]
    for name, number in expected.items():
        np.testing.assert_allclose(getattr(found[value], name), number, rtol=1e-9, atol=1e-9)


def test_an_oblique_scan_keeps_its_lengths_and_turns_its_centre() -> None:
    image, labels = scan(0)
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    plain = measure_labels(image.data, labels.data, STRAIGHT)[2]
    turned = measure_labels(image.data, labels.data, turn @ STRAIGHT)[2]
    for name in ("ml", "mean", "extent_mm", "diameter_mm"):
        assert getattr(turned, name) == pytest.approx(getattr(plain, name))
    assert turned.centre_mm == pytest.approx(tuple((turn @ [*plain.centre_mm, 1])[:3]))


def test_a_row_of_a_table_has_each_number_once_and_json_reads_back() -> None:
    image, labels = scan(3)
    found = measure_labels(image.data, labels.data, STRAIGHT)[2]
    cells = found.cells()
    assert tuple(cells) == COLUMNS
    assert cells["p95"] == round(found.percentiles[4], 3)
    assert cells["centre S mm"] == round(found.centre_mm[2], 3)
    again = LabelStatistics.from_json(found.to_json())
    assert again.cells() == cells and again.voxels == found.voxels


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (1, 1, 7), (1, 60, 70)])
def test_the_largest_diameter_is_that_of_all_pairs(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    inside = random.random(shape) < 0.3
    inside.flat[:2] = True
    places = np.argwhere(inside) * (3.0, 1.0, 2.0)
    expected = np.linalg.norm(places[:, None] - places[None], axis=2).max()
    assert largest_diameter_mm(inside, (3.0, 1.0, 2.0)) == pytest.approx(expected)


def test_the_largest_diameter_of_an_oblique_line() -> None:
    inside = np.zeros((4, 4, 4), bool)
    inside[range(4), range(4), range(4)] = True
    assert largest_diameter_mm(inside, (1.0, 1.0, 1.0)) == pytest.approx(27**0.5)
    assert largest_diameter_mm(np.zeros((2, 2, 2), bool), (1.0, 1.0, 1.0)) == 0
