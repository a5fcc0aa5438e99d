"""Answers of slices, seen as a volume: cases that can be counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.support import LabelledScan
from dpcenet.inference.whole_scan import (
    OnePart,
    as_one_volume,
    edge_at_half,
    keep_parts,
    likeliest_part,
    smooth_across,
)
from dpcenet.types import Features
from dpcenet.volumes.boxes_and_values import label_boxes

SPACING = (5.0, 2.0, 2.0)
LEFT_BLOCK = OnePart((8.5, 8.5), 600)


def labelled(label: np.ndarray, slice_mm: float = 5.0) -> LabelledScan:
    """A labelled scan without an image."""
    images = torch.zeros(len(label), 1, *label.shape[1:])
    return LabelledScan("a", EncodedScan(images, Features({}), (slice_mm, 2.0, 2.0)), label)


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


def one_part(scans: Sequence[LabelledScan], slice_mm: float) -> OnePart | None:
    """What labelled scans say of label 1."""
    return OnePart.of(scans, [label_boxes(scan.label) for scan in scans], 1, slice_mm)


def test_a_label_is_in_one_part_if_it_is_so_in_every_scan_that_shows_it() -> None:
    whole, speck, halves, other = (np.zeros((8, 8, 8), np.uint8) for _ in range(4))
    whole[2:6, 2:6, 2:6] = 1
    speck[2:6, 2:6, 2:6] = 1
    speck[7, 7, 7] = 1  # one voxel of 65
    halves[1:3] = halves[5:7] = 1
    other[...] = 2

    def known(*labels: np.ndarray) -> OnePart | None:
        return one_part([labelled(label) for label in labels], 5.0)

    assert known(whole) == known(whole, other) == OnePart((3.5, 3.5), 64)
    assert known(speck) is not None
    assert known(halves) is None
    assert known(whole, halves) is None
    assert known(other) is None


def test_the_labelled_size_is_in_voxels_of_the_query() -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:6, 2:6, 2:6] = 1
    known = one_part([labelled(label, 5.0)], 2.5)
    assert known is not None and known.voxels == 128
    # of two labelled scans the mean
    known = one_part([labelled(label, 5.0), labelled(label, 10.0)], 5.0)
    assert known is not None and known.voxels == 96


def alone(
    probability: np.ndarray,
    image: np.ndarray,
    spacing: tuple[float, float, float],
    known: OnePart | None,
) -> np.ndarray:
    """`as_one_volume` of label 3, beside which there is no other."""
    likeliest = np.where(probability > 0.5, np.uint8(3), np.uint8(0))
    return as_one_volume(probability, image, spacing, known, 3, likeliest)


def test_what_lies_apart_is_dropped_where_the_label_is_in_one_part() -> None:
    image = np.zeros((10, 32, 32), np.float32)
    once = alone(two_blocks(), image, SPACING, LEFT_BLOCK)
    both = alone(two_blocks(), image, SPACING, None)
    assert (once[5] > 0.5).sum() == 100
    assert (both[5] > 0.5).sum() == 136
    assert once[5, 24, 24] == 0


def test_of_parts_at_the_same_distance_the_larger_one_is_the_organ() -> None:
    middle = OnePart((16.5, 16.5), 1e6)
    kept = likeliest_part(two_blocks(), middle, near=4)
    assert kept[5, 8, 8] == np.float32(0.9)
    assert kept[5, 24, 24] == 0
    assert kept[5, 0, 0] == np.float32(0.1)  # what is no part stays


def test_a_part_at_the_organs_place_wins_over_a_larger_one_elsewhere() -> None:
    kept = likeliest_part(two_blocks(), OnePart((24.5, 24.5), 1e6), near=4)
    assert kept[5, 8, 8] == 0
    assert kept[5, 24, 24] == np.float32(0.8)


def test_what_exceeds_the_labelled_organ_makes_no_part_likelier() -> None:
    """The small block is a little nearer; the large one is six times as large as the label."""
    nearer = OnePart((17.0, 17.0), 100)
    assert likeliest_part(two_blocks(), nearer, near=4)[5, 8, 8] == 0
    assert likeliest_part(two_blocks(), OnePart((17.0, 17.0), 1e6), near=4)[5, 24, 24] == 0


def test_a_part_that_is_likelier_another_organ_is_not_this_one() -> None:
    """The large block, which is at the organ's place, but label 4 is likelier there."""
    image, likeliest = np.zeros((10, 32, 32), np.float32), np.zeros((10, 32, 32), np.uint8)
    likeliest[2:8, 22:28, 22:28] = 3
    likeliest[2:8, 4:14, 4:14] = 4
    found = as_one_volume(two_blocks(), image, SPACING, OnePart((16.5, 16.5), 600), 3, likeliest)
    assert found[5, 8, 8] == 0
    assert found[5, 24, 24] > 0.5
    one = two_blocks()
    one[:, 20:] = 0  # a part that is the only one stays, whatever else it may be
    assert likeliest_part(one, LEFT_BLOCK, 4, likeliest == 3) is one


def test_one_part_or_none_stays_as_it_is() -> None:
    one = two_blocks()
    one[:, 20:] = 0
    assert likeliest_part(one, LEFT_BLOCK, near=4) is one
    nothing = np.zeros((3, 4, 4), np.float32)
    assert likeliest_part(nothing, LEFT_BLOCK, near=4) is nothing


def test_a_slice_that_was_missed_is_filled_from_its_neighbours() -> None:
    probability = two_blocks()
    probability[5, 4:14, 4:14] = 0.2
    image = np.zeros((10, 32, 32), np.float32)
    near = alone(probability.copy(), image, SPACING, LEFT_BLOCK)
    assert (near[5, 4:14, 4:14] > 0.5).all()
    far = (50.0, 2.0, 2.0)  # slices that far apart say nothing of each other
    assert not (alone(probability, image, far, LEFT_BLOCK)[5, 4:14, 4:14] > 0.5).any()


def test_nothing_found_stays_nothing() -> None:
    nothing = np.zeros((4, 8, 8), np.float32)
    assert not alone(nothing, nothing, SPACING, LEFT_BLOCK).any()


def test_the_edge_of_a_mask_comes_to_lie_at_one_half() -> None:
    edge = 0.35
    found = np.array([[[0.0, 0.2, edge, 0.4, 0.8, 1.0, 0.45, 0.1, 0.49]]], dtype=np.float32)
    before = found.astype(np.float64)
    edge_at_half(found, edge)
    odds = before[0, 0, :8] * (1 - edge)
    expected = [*odds / (odds + edge * (1 - before[0, 0, :8])), 0.5]  # the last one lies apart
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)
    assert np.flatnonzero(found > 0.5).tolist() == [3, 4, 5, 6]


def test_where_nothing_was_found_moving_the_edge_finds_nothing() -> None:
    found = np.full((2, 3, 3), 0.49, dtype=np.float32)
    edge_at_half(found, 0.35)
    assert (found == 0.5).all()
