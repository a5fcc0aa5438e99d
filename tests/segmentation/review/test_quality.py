"""Flags and reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.review.calibration import fit
from dpcenet.segmentation.review.quality import assess, flag_of, judge, nothing_found
from dpcenet.segmentation.segmenter import Segmenter
from samples import GOOD, like_good, made_samples


@pytest.mark.parametrize(
    ("dice", "low", "flag"),
    [(0.9, 0.8, "accept"), (0.9, 0.5, "accept"), (0.9, 0.49, "look"), (0.49, 0.3, "reject")],
)
def test_flags(dice: float, low: float, flag: str) -> None:
    assert flag_of(dice, low) == flag


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"confidence": 0.5}, "undecided"),
        ({"agreement": 0.4}, "changes with the labelled slices"),
        ({"reverse": 0.2}, "not found back"),
        ({"volume_ratio": 3.0}, "3.0 times the labelled volume"),
        ({"volume_ratio": 0.2}, "0.2 times the labelled volume"),
        ({"shape": replace(GOOD.shape, components=4, largest=0.5)}, "in 4 parts"),
        ({"continuity_loss": 0.3}, "neighbouring slices"),
    ],
)
def test_what_is_unusual_is_named(change: dict[str, object], words: str) -> None:
    calibration = fit(made_samples(50, seed=0), "", "")
    assert judge(GOOD, calibration).reasons == ()
    (reason,) = judge(like_good(**change), calibration).reasons
    assert words in reason


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
    qualities = assess(copier, found, calibration)
    assert list(qualities) == [1, 2]
    assert qualities[2] == nothing_found() and qualities[2].flag == "reject"
    assert qualities[1].signals is not None and qualities[1].signals.reverse == 1.0
    assert qualities[1].dice == calibration.estimate(qualities[1].signals).dice > 0.5
    assert qualities[1].calibrated


def test_the_calibration_of_another_network_is_said_to_be_one(copier: Segmenter) -> None:
    image, labels = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    support = copier.support(image, labels, [1])
    (quality,) = assess(copier, copier.find(image, support)).values()
    assert not quality.calibrated  # the shipped calibration is for the shipped network
