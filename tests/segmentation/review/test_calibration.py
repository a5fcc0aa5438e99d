"""The calibration against NumPy; the shipped one against the shipped network."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from dpcenet.methods.incontext import weights as shipped
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.review.calibration import (
    LEAST,
    MOST,
    RIDGE,
    Calibration,
    Sample,
    fit,
    quality_features,
    shipped_calibration,
)
from dpcenet.segmentation.review.signals import Signals
from samples import like_good, made_samples


def logit(share: float) -> float:
    held = min(max(share, LEAST), MOST)
    return math.log(held) - math.log(1 - held)


def used_features(signals: Signals) -> list[float]:
    """The features; `None`, which samples.py leaves everywhere alike, as any one number."""
    return [0.0 if x is None else x for x in quality_features(signals).values()]


def ridge(samples: list[Sample], test: list[Sample]) -> np.ndarray:
    """Ridge regression by its normal equations: predicted logits of the test samples."""
    x, y = (np.array([used_features(s.signals) for s in part]) for part in (samples, test))
    target = np.array([logit(s.dice) for s in samples])
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    unit = (x - mean) / scale
    inverse = np.linalg.inv(unit.T @ unit + RIDGE * np.eye(x.shape[1]))
    return target.mean() + (y - mean) / scale @ (inverse @ unit.T @ (target - target.mean()))


UNMEASURED = ("territory", "place", "alignment")  # alike in all samples of samples.py


def named_coefficients(calibration: Calibration) -> dict[str, float]:
    return dict(zip(calibration.features, calibration.coefficients, strict=True))


def only_helpful(samples: list[Sample]) -> list[Sample]:
    """The Dice rises with every feature, so that the sign of none is in question."""
    helpful = []
    for sample in samples:
        place = 0.3 * sum(used_features(sample.signals))
        helpful.append(Sample(sample.fold, sample.signals, 1 / (1 + math.exp(-place))))
    return helpful


def test_where_no_sign_is_in_question_it_is_ridge_regression() -> None:
    samples = only_helpful(made_samples(60, seed=1))
    fitted = fit(samples, "", "")
    assert all(c > 0 for f, c in named_coefficients(fitted).items() if f not in UNMEASURED)
    predicted = [fitted.estimate(s.signals).dice for s in samples]
    np.testing.assert_allclose([logit(p) for p in predicted], ridge(samples, samples), atol=1e-9)


def test_each_end_is_the_conformal_quantile_of_unseen_residuals() -> None:
    samples = only_helpful(made_samples(60, seed=2))
    random = np.random.default_rng(0)
    samples = [
        Sample(s.fold, s.signals, 1 / (1 + math.exp(-logit(s.dice) - 0.1 * random.normal())))
        for s in samples
    ]
    residuals = []
    for fold in range(5):
        seen = [s for s in samples if s.fold != str(fold)]
        unseen = [s for s in samples if s.fold == str(fold)]
        residuals += list(np.array([logit(s.dice) for s in unseen]) - ridge(seen, unseen))
    fitted = fit(samples, "", "", coverage=0.9)
    for width, side in ((fitted.below, -1), (fitted.above, 1)):
        ranked = side * np.array(residuals)
        expected = np.quantile(ranked, np.ceil(0.9 * 61) / 60, method="inverted_cdf")
        assert width == pytest.approx(expected, abs=1e-9)


def test_as_many_new_cases_lie_above_the_lower_end_and_below_the_upper_as_it_says() -> None:
    fitted = fit(made_samples(200, seed=3), "", "", coverage=0.8)
    fresh = made_samples(2000, seed=4)
    estimates = [fitted.estimate(s.signals) for s in fresh]
    true = np.array([s.dice for s in fresh])
    assert 0.75 < np.mean([e.low for e in estimates] <= true) < 0.85
    assert 0.75 < np.mean(true <= [e.high for e in estimates]) < 0.85
    assert all(0 < e.low < e.dice < e.high < 1 for e in estimates)


def test_no_signal_counts_the_wrong_way_however_the_samples_lie() -> None:
    upside_down = [Sample(s.fold, s.signals, 1 - s.dice) for s in made_samples(100, seed=5)]
    calibration = fit(upside_down, "", "")
    fitted = named_coefficients(calibration)
    assert fitted["confidence"] == fitted["volume"] == 0
    assert min(fitted.values()) >= 0


def test_a_feature_that_was_not_measured_counts_as_an_average_one() -> None:
    random = np.random.default_rng(7)
    samples = []
    for sample in made_samples(60, seed=7):
        alike = float(random.uniform(0.1, 0.5))
        dice = 1 / (1 + math.exp(-logit(sample.dice) - 10 * (alike - 0.3)))
        signals = replace(sample.signals, alignment=alike if random.random() < 0.8 else None)
        samples.append(Sample(sample.fold, signals, dice))
    fitted = fit(samples, "", "")
    assert named_coefficients(fitted)["alignment"] > 0.1
    known = [s.signals.alignment for s in samples if s.signals.alignment is not None]
    without, average = (like_good(alignment=a) for a in (None, float(np.mean(known))))
    assert fitted.estimate(without).dice == pytest.approx(fitted.estimate(average).dice)


def test_a_calibration_survives_json() -> None:
    fitted = fit(made_samples(30, seed=6), "abc", "made samples")
    again = TypeAdapter(Calibration).validate_json(json.dumps(asdict(fitted)))
    assert again == fitted


def test_the_shipped_calibration_was_made_for_the_shipped_weights() -> None:
    network = shipped.build(shipped.Options())
    assert shipped_calibration().weights == hash_of_state(network)


@pytest.mark.parametrize(
    "change",
    [
        {"reverse": 0.3},
        {"agreement": 0.3},
        {"confidence": 0.3},
        {"volume_ratio": 4.0},
        {"volume_ratio": 0.25},
        {"continuity_loss": 0.4},
        {"taken": 0.5},
        {"claimed": 0.5},
        {"displacement_mm": 90.0, "size_mm": 50.0},
        {"alignment": 0.0},
    ],
)
def test_the_shipped_calibration_never_rewards_a_worse_signal(change: dict[str, float]) -> None:
    calibration = shipped_calibration()
    best = {"displacement_mm": 0.0, "size_mm": 50.0, "alignment": 0.4}
    good, worse = (calibration.estimate(like_good(**c)) for c in (best, {**best, **change}))
    assert worse.dice <= good.dice and worse.low <= good.low and worse.high <= good.high


def test_the_shipped_calibration_tells_good_from_hopeless() -> None:
    calibration = shipped_calibration()
    hopeless = like_good(reverse=0.1, agreement=0.2, confidence=0.4, volume_ratio=5.0)
    assert calibration.estimate(like_good()).dice > 0.7
    assert calibration.estimate(hopeless).dice < 0.5
