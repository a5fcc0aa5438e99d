"""Answers of slices, seen as a volume: cases that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpcenet.inference.whole_scan import (
    as_one_volume,
    is_in_one_part,
    keep_parts,
    largest_part,
    smooth_across,
)

SPACING = (5.0, 2.0, 2.0)


def parts() -> np.ndarray:
    """Parts of 8, 4 and 1 voxels; the last touches the first at a corner only."""
    mask = np.zeros((6, 6, 6), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[4, 0:2, 4:6] = True
    mask[2, 2, 2] = True
    return mask


def two_blocks() -> np.ndarray:
    """Probability 0.9 in a large block, 0.8 in a small one apart from it, 0.1 elsewhere."""
    probability = np.full((10, 32, 32), 0.1, np.float32)
    probability[2:8, 4:14, 4:14] = 0.9
    probability[2:8, 22:28, 22:28] = 0.8
    return probability


@pytest.mark.parametrize(
    ("largest", "min_volume", "left"),
    [(False, 0, 13), (True, 0, 8), (False, 8, 12), (False, 9, 8), (True, 17, 0), (False, 16, 8)],
)
def test_parts_are_kept_by_size_in_mm3(largest: bool, min_volume: float, left: int) -> None:
    assert keep_parts(parts(), 2.0, largest, min_volume).sum() == left


def test_an_empty_mask_stays_empty() -> None:
    assert not keep_parts(np.zeros((3, 3, 3), bool), 1.0, True, 5.0).any()


@pytest.mark.parametrize("spacing", [2.0, 8.0])
def test_smoothing_is_a_gaussian_in_millimetres(spacing: float) -> None:
    """One slice of ones: its neighbours fall off as exp(-d²/2σ²), whatever the slice distance."""
    sigma = 8.0
    probability = np.zeros((41, 2, 2), np.float32)
    probability[20] = 1
    smoothed = smooth_across(probability, spacing, sigma)
    for step in (1, 2, 3):
        ratio = smoothed[20 + step, 0, 0] / smoothed[20, 0, 0]
        assert ratio == pytest.approx(math.exp(-((step * spacing) ** 2) / (2 * sigma**2)), rel=1e-4)
    assert smoothed[:, 0, 0].sum() == pytest.approx(1, rel=1e-4)
    assert np.allclose(smooth_across(np.ones((9, 2, 2), np.float32), spacing, sigma), 1)


def test_a_label_is_in_one_part_if_it_is_so_in_every_scan_that_shows_it() -> None:
    whole, speck, halves, other = (np.zeros((8, 8, 8), np.uint8) for _ in range(4))
    whole[2:6, 2:6, 2:6] = 1
    speck[2:6, 2:6, 2:6] = 1
    speck[7, 7, 7] = 1  # one voxel of 65
    halves[1:3] = halves[5:7] = 1
    other[...] = 2
    assert is_in_one_part([whole], 1)
    assert is_in_one_part([speck], 1)
    assert is_in_one_part([whole, other], 1)
    assert not is_in_one_part([halves], 1)
    assert not is_in_one_part([whole, halves], 1)


def test_what_lies_apart_is_dropped_where_the_label_is_in_one_part() -> None:
    image = np.zeros((10, 32, 32), np.float32)
    once = as_one_volume(two_blocks(), image, SPACING, one_part=True)
    both = as_one_volume(two_blocks(), image, SPACING, one_part=False)
    assert (once[5] > 0.5).sum() == 100
    assert (both[5] > 0.5).sum() == 136
    assert once[5, 24, 24] == 0


def test_the_largest_part_keeps_its_probabilities() -> None:
    kept = largest_part(two_blocks())
    assert kept[5, 8, 8] == np.float32(0.9)
    assert kept[5, 0, 0] == np.float32(0.1)
    assert not largest_part(np.zeros((3, 4, 4), np.float32)).any()


def test_a_slice_that_was_missed_is_filled_from_its_neighbours() -> None:
    probability = two_blocks()
    probability[5, 4:14, 4:14] = 0.2
    image = np.zeros((10, 32, 32), np.float32)
    assert (as_one_volume(probability.copy(), image, SPACING, True)[5, 4:14, 4:14] > 0.5).all()
    far = (50.0, 2.0, 2.0)  # slices that far apart say nothing of each other
    assert not (as_one_volume(probability, image, far, True)[5, 4:14, 4:14] > 0.5).any()


def test_nothing_found_stays_nothing() -> None:
    nothing = np.zeros((4, 8, 8), np.float32)
    assert not as_one_volume(nothing, nothing, SPACING, True).any()
