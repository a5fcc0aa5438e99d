"""Flags and reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.review.calibration import fit
from dpcenet.segmentation.review.quality import (
    accept_words,
    assess,
    flag_of,
    judge,
    nothing_found,
)
from dpcenet.segmentation.segmenter import Segmenter
from samples import CALIBRATION, GOOD, like_good, made_samples


@pytest.mark.parametrize(
    ("dice", "low", "asked", "reasons", "flag"),
    [
        (0.9, 0.8, 0.8, (), "accept"),
        (0.9, 0.79, 0.8, (), "look"),
        (0.9, 0.79, 0.75, (), "accept"),
        (0.9, 0.8, 0.8, ("in 4 parts",), "look"),
        (0.49, 0.3, 0.5, (), "reject"),
        (0.49, 0.3, 0.5, ("in 4 parts",), "reject"),
    ],
)
def test_flags(dice: float, low: float, asked: float, reasons: tuple[str, ...], flag: str) -> None:
    assert flag_of(dice, low, reasons, asked) == flag


def test_a_mask_is_flagged_anew_for_another_dice_that_is_asked_for() -> None:
    quality = replace(judge(GOOD, CALIBRATION, accept_dice=0.5), low=0.77)
    assert quality.flag == "accept" and quality.accept_dice == 0.5
    stricter = quality.asking(0.78)
    assert stricter.flag == "look" and stricter.accept_dice == 0.78
    assert stricter.asking(0.77) == replace(quality, accept_dice=0.77)


def test_what_speaks_against_the_scan_speaks_against_each_mask() -> None:
    quality = judge(GOOD, CALIBRATION, accept_dice=0.5, against_all=["another plane"])
    assert quality.flag == "look" and quality.reasons == ("another plane",)
    empty = nothing_found(against_all=["another plane"])
    assert empty.reasons == ("nothing was found", "another plane")


def test_what_accept_means_is_said_with_the_dice_that_was_asked_for() -> None:
    assert accept_words(0.75) == "at least 0.75 Dice is expected in 9 of 10 such cases"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"confidence": 0.5}, "undecided"),
        ({"agreement": 0.4}, "changes with the labelled slices"),
        ({"reverse": 0.2}, "comes out wrong"),
        ({"volume_ratio": 3.0}, "3.0 times the labelled volume"),
        ({"volume_ratio": 0.2}, "0.2 times the labelled volume"),
        ({"shape": replace(GOOD.shape, components=4, largest=0.5)}, "in 4 parts"),
        ({"continuity_loss": 0.3}, "neighbouring slices"),
        ({"taken": 0.4}, "40% of it seems to belong to another label"),
        ({"claimed": 0.5, "taken": 0.4}, "50% of it seems to belong to another label"),
        ({"displacement_mm": 61.0, "size_mm": 50.0}, "61 mm from where the other labels put it"),
        ({"alignment": 0.05}, "hardly found in the scan"),
    ],
)
def test_what_is_unusual_is_named(change: dict[str, object], words: str) -> None:
    assert judge(GOOD, CALIBRATION).reasons == ()
    quality = judge(like_good(**change), CALIBRATION, accept_dice=0.5)
    (reason,) = quality.reasons
    assert words in reason and quality.flag != "accept"


def test_a_label_that_was_not_found_is_rejected_and_others_are_judged(copier: Segmenter) -> None:
    image, labels = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    support = copier.support(image, labels, [1, 2])
    found = copier.find(image, support)
    found = replace(
        found, probability={**found.probability, 2: np.zeros_like(found.probability[2])}
    )
    calibration = fit(
        made_samples(50, seed=0), hash_of_state(copier.predictor.method), "made samples"
    )
    qualities = assess(copier.predictor, found, calibration)
    assert list(qualities) == [1, 2]
    assert qualities[2] == nothing_found() and qualities[2].flag == "reject"
    assert qualities[1].signals is not None and qualities[1].signals.reverse == 1.0
    assert qualities[1].dice == calibration.estimate(qualities[1].signals).dice > 0.5
    assert qualities[1].calibrated


def test_the_calibration_of_another_network_is_said_to_be_one(copier: Segmenter) -> None:
    image, labels = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    support = copier.support(image, labels, [1])
    (quality,) = assess(copier.predictor, copier.find(image, support)).values()
    assert not quality.calibrated  # the shipped calibration is for the shipped network
    assert quality.flag != "accept" and "another network" in quality.reasons[-1]
