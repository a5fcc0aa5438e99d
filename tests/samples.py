"""Made signals, and cases of a review made from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dpcenet.segmentation.review.calibration import Sample, fit
from dpcenet.segmentation.review.quality import OTHER_NETWORK, judge, nothing_found
from dpcenet.segmentation.review.reasons import reasons_against
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, picture
from dpcenet.segmentation.review.signals import Shape, Signals

GOOD = Signals(
    reverse=0.9,
    agreement=0.95,
    confidence=0.95,
    similarity=0.8,
    shape=Shape(volume_ml=100.0, extent_mm=80.0, components=1, largest=1.0, continuity=0.9),
    volume_ratio=1.0,
    extent_ratio=1.0,
    continuity_loss=0.0,
)


def like_good(**changes: Any) -> Signals:
    """Good signals but for some."""
    return replace(GOOD, **changes)


UNLIKE_ALL = like_good(
    confidence=0.1,
    agreement=0.1,
    reverse=0.1,
    volume_ratio=9.0,
    continuity_loss=1.0,
    shape=replace(GOOD.shape, largest=0.5, components=3),
    taken=0.9,
    displacement_mm=99.0,
    alignment=0.01,
)
"""Signals with everything that can speak against a mask."""


def every_reason() -> tuple[str, ...]:
    """Each reason that signals can give, as the program words it."""
    reasons = (*reasons_against(UNLIKE_ALL), *nothing_found().reasons, OTHER_NETWORK)
    assert len(reasons) == 11
    return reasons


def made_samples(count: int, seed: int, noise: float = 0.5) -> list[Sample]:
    """Segmentations whose Dice follows confidence and volume, with normal noise in logits."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        steps = random.normal(size=4)
        ratio = float(np.exp(random.normal(scale=0.5)))
        signals = like_good(
            reverse=float(1 / (1 + np.exp(-1 - 0.5 * steps[0]))),
            agreement=float(1 / (1 + np.exp(-1 - 0.5 * steps[1]))),
            confidence=float(1 / (1 + np.exp(-1 - 0.5 * steps[2]))),
            volume_ratio=ratio,
            continuity_loss=float(random.normal(scale=0.1)),
        )
        logit = 0.5 + 0.6 * steps[2] - 0.8 * abs(np.log(ratio)) + noise * steps[3]
        samples.append(Sample(str(number % 5), signals, float(1 / (1 + np.exp(-logit)))))
    return samples


CALIBRATION = fit(made_samples(50, seed=0), "", "")
ADDRESS = picture(np.zeros((1, 8, 8), np.float32), np.ones((1, 8, 8), bool))


def made_case(name: str, place: float, **changes: float) -> ReviewedCase:
    """A case with a good liver and a spleen as good as said."""
    spleen = judge(like_good(**changes), CALIBRATION) if changes else nothing_found()
    return ReviewedCase(
        name,
        f"{name}_seg.nii.gz",
        {"liver": judge(GOOD, CALIBRATION), "spleen": spleen},
        {"liver": ADDRESS},
        (float(np.cos(place)), float(np.sin(place))),
    )
