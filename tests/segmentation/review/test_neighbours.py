"""What other labels say against a mask, on masks made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.segmentation.review.neighbours import (
    centres_mm,
    claimed_by_another,
    displacement_mm,
    taken_in_support,
)

LIVER, KIDNEY, SPLEEN = 1, 3, 4


def drawn() -> np.ndarray:
    """A kidney of 4 x 4 pixels beside a spleen of 4 x 4, on two slices; a liver far away."""
    labels = np.zeros((2, 10, 20), np.uint8)
    labels[:, 2:6, 2:6], labels[:, 2:6, 6:10], labels[:, 7:9, 15:19] = KIDNEY, SPLEEN, LIVER
    return labels


def test_a_mask_on_its_own_label_takes_nothing() -> None:
    labels = drawn()
    assert taken_in_support(labels == KIDNEY, labels, KIDNEY) == 0
    beside = np.zeros(labels.shape, bool)
    beside[:, 0:2, 2:6] = True  # background is no other label
    assert taken_in_support(beside, labels, KIDNEY) == 0


def test_the_share_on_the_label_that_has_most_of_it_is_taken() -> None:
    labels = drawn()
    carried = np.zeros(labels.shape, bool)
    carried[0, 2:6, 4:9] = True  # 8 pixels of the kidney, 12 of the spleen
    carried[0, 7, 15:19] = True  # 4 of the liver
    assert taken_in_support(carried, labels, KIDNEY) == pytest.approx(12 / 24)
    assert taken_in_support(carried, labels, SPLEEN) == pytest.approx(8 / 24)


def test_nothing_carried_back_takes_nothing() -> None:
    assert taken_in_support(np.zeros((2, 10, 20), bool), drawn(), KIDNEY) == 0


def test_what_another_label_claims_is_its_mean_probability_in_the_mask() -> None:
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0] = True
    spleen = np.array([[[0.9, 0.5, 0.1, 0.1], [1, 1, 1, 1]]], np.float32)
    liver = np.full(mask.shape, 0.2, np.float32)
    probability = {KIDNEY: mask.astype(np.float32), SPLEEN: spleen, LIVER: liver}
    assert claimed_by_another(probability, mask, KIDNEY) == pytest.approx(0.4)
    assert claimed_by_another({KIDNEY: spleen}, mask, KIDNEY) == 0


def test_centres_are_in_millimetres() -> None:
    centres = centres_mm(drawn(), (8.0, 1.0, 2.0))
    assert set(centres) == {LIVER, KIDNEY, SPLEEN}
    np.testing.assert_allclose(centres[KIDNEY], [0.5 * 8, 3.5, 3.5 * 2])
    np.testing.assert_allclose(centres[LIVER], [0.5 * 8, 7.5, 16.5 * 2])


THERE = {1: np.array([0.0, 0, 0]), 2: np.array([0.0, 0, 100]), 3: np.array([0.0, 50, 0])}


def test_a_scan_that_lies_elsewhere_as_a_whole_displaces_nothing() -> None:
    here = {value: centre + np.array([7, -40, 12]) for value, centre in THERE.items()}
    assert displacement_mm(1, here, THERE) == 0


def test_one_label_at_a_wrong_place_is_told_and_does_not_speak_against_the_others() -> None:
    here = {**THERE, 3: THERE[3] + np.array([0, 30, 40])}
    assert displacement_mm(3, here, THERE) == pytest.approx(50)
    assert displacement_mm(1, here, THERE) == displacement_mm(2, here, THERE) == 0


def test_in_a_mirrored_scan_every_label_lies_wrong() -> None:
    mirrored = {value: centre * np.array([1, 1, -1]) for value, centre in THERE.items()}
    # 2 is expected at x = 100 and lies at −100; 1 and 3 lie right beside each other, not beside 2.
    assert displacement_mm(2, mirrored, THERE) == pytest.approx(200)


def test_a_single_label_has_no_place_to_be_compared_with() -> None:
    assert displacement_mm(1, {1: THERE[1]}, THERE) is None
    assert displacement_mm(1, {1: THERE[1], 9: THERE[2]}, THERE) is None
