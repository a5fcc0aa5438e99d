"""Rules of 3-D consistency, against cases that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.postprocess import Consistency, keep_parts, smooth_across
from dpcenet.types import Volume
from made_scans import quick_segmenter


def parts() -> np.ndarray:
    """Parts of 8, 4 and 1 voxels; the last touches the first at a corner only."""
    mask = np.zeros((6, 6, 6), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[4, 0:2, 4:6] = True
    mask[2, 2, 2] = True
    return mask


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


def test_rules_apply_to_what_was_found_and_are_off_by_default() -> None:
    image, labels = phantom(1, (8, 48, 48), (11.0, 6.0, 6.0))
    speck = labels.data.copy()
    speck[4, 0, 0] = 1
    segmenter = quick_segmenter()
    support = segmenter.support(image, Volume(speck, labels.affine))
    found = segmenter.find(image, support)
    assert found.mask.data[4, 0, 0] == 1
    same = Consistency().apply(found)
    assert np.array_equal(same.mask.data, found.mask.data)
    tidy = Consistency(largest=True).apply(found)
    assert tidy.mask.data[4, 0, 0] == 0
    assert (tidy.mask.data == found.mask.data).mean() > 0.99
    large = Consistency(min_volume_mm3=1.5 * 11 * 6 * 6).apply(found)
    assert large.mask.data[4, 0, 0] == 0
    smooth = Consistency(smooth_mm=11).apply(found)
    assert smooth.mask.data[4, 0, 0] == 0  # most of its probability goes to empty slices
    with pytest.raises(ValueError, match="below 0"):
        Consistency(smooth_mm=-1)
