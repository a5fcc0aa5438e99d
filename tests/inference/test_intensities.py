"""Probabilities weighed by a scan's own intensities, on a bright cube in a dark, noisy scan."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dpcenet.inference.whole_scan import AROUND_MM, LEAST, weighed_by_intensity

SPACING = (4.0, 1.0, 1.0)
CUBE = np.zeros((12, 96, 96), bool)
CUBE[3:9, 36:60, 36:60] = True


@pytest.fixture
def image() -> np.ndarray:
    """Intensity 1 in the cube and 0 around it, with noise of a fifth of that."""
    noise = np.random.default_rng(0).normal(0, 0.2, CUBE.shape)
    return (CUBE + noise).astype(np.float32)


def too_large() -> np.ndarray:
    """An answer that is sure of the cube and takes a rim of six voxels around it as well."""
    probability = np.full(CUBE.shape, 0.05, np.float32)
    probability[3:9, 30:66, 30:66] = 0.6
    probability[CUBE] = 0.8
    return probability


def test_a_rim_of_other_intensities_is_given_up(image: np.ndarray) -> None:
    found = weighed_by_intensity(too_large(), image, SPACING) > 0.5
    assert found[CUBE].mean() > 0.97
    beyond = (too_large() > 0.5) & ~ndimage.binary_dilation(
        CUBE, iterations=2
    )  # but for the blurred edge
    assert beyond.sum() > 1000
    assert (found & beyond).sum() < 0.05 * beyond.sum()


def test_an_edge_that_was_missed_is_found(image: np.ndarray) -> None:
    probability = np.full(CUBE.shape, 0.05, np.float32)
    probability[CUBE] = 0.4
    probability[3:9, 40:56, 40:56] = 0.9
    found = weighed_by_intensity(probability, image, SPACING) > 0.5
    assert found[CUBE].mean() > 0.9
    assert (probability > 0.5)[CUBE].mean() < 0.5


def test_intensities_that_are_alike_everywhere_say_nothing() -> None:
    same = np.full(CUBE.shape, 7, np.float32)
    np.testing.assert_allclose(weighed_by_intensity(too_large(), same, SPACING), too_large(), 1e-4)


def test_the_scale_of_intensities_does_not_matter(image: np.ndarray) -> None:
    once = weighed_by_intensity(too_large(), image, SPACING)
    again = weighed_by_intensity(too_large(), 1024 * image, SPACING)
    np.testing.assert_allclose(once, again, atol=1e-5)


def test_voxels_far_away_keep_their_probability(image: np.ndarray) -> None:
    found = weighed_by_intensity(too_large(), image, SPACING)
    away = round(AROUND_MM) + 2
    assert (found[:, : 30 - away] == np.float32(0.05)).all()
    assert (found[:, 31 - away : 30] != np.float32(0.05)).any()


def test_a_few_voxels_have_no_histogram(image: np.ndarray) -> None:
    probability = np.zeros(CUBE.shape, np.float32)
    probability[5, 40, 40 : 40 + LEAST - 1] = 0.9
    assert weighed_by_intensity(probability, image, SPACING) is probability
