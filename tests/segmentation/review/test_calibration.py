"""The calibration against NumPy; the shipped one against the shipped network."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

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
from samples import like_good, made_samples


def logit(share: float) -> float:
    held = min(max(share, LEAST), MOST)
    return math.log(held) - math.log(1 - held)


def ridge(samples: list[Sample], test: list[Sample]) -> np.ndarray:
    """Ridge regression by its normal equations: predicted logits of the test samples."""
    x, y = (
        np.array([list(quality_features(s.signals).values()) for s in part])
        for part in (samples, test)
    )
    target = np.array([logit(s.dice) for s in samples])
    mean, scale = x.mean(axis=0), x.std(axis=0)
    unit = (x - mean) / scale
    inverse = np.linalg.inv(unit.T @ unit + RIDGE * np.eye(x.shape[1]))
    return target.mean() + (y - mean) / scale @ (inverse @ unit.T @ (target - target.mean()))


def only_helpful(samples: list[Sample]) -> list[Sample]:
    """The Dice rises with every feature, so that the sign of none is in question."""
    helpful = []
    for sample in samples:
        place = 0.3 * sum(quality_features(sample.signals).values())
        helpful.append(Sample(sample.fold, sample.signals, 1 / (1 + math.exp(-place))))
    return helpful


def test_where_no_sign_is_in_question_it_is_ridge_regression() -> None:
    samples = only_helpful(made_samples(60, seed=1))
    fitted = fit(samples, "", "")
    assert min(fitted.coefficients) > 0
    predicted = [fitted.estimate(s.signals).dice for s in samples]
    np.testing.assert_allclose([logit(p) for p in predicted], ridge(samples, samples), atol=1e-9)


def test_the_interval_is_the_conformal_quantile_of_unseen_residuals() -> None:
    samples = only_helpful(made_samples(60, seed=2))
    random = np.random.default_rng(0)
    samples = [
        Sample(s.fold, s.signals, 1 / (1 + math.exp(-logit(s.dice) - 0.1 * random.normal())))
        for s in samples
    ]
    residuals = []
    for fold in range(5):
        seen = [s for s in samples if s.fold != fold]
        unseen = [s for s in samples if s.fold == fold]
        residuals += list(np.abs(ridge(seen, unseen) - [logit(s.dice) for s in unseen]))
    expected = np.quantile(residuals, np.ceil(0.9 * 61) / 60, method="inverted_cdf")
    assert fit(samples, "", "", coverage=0.9).half_width == pytest.approx(expected, abs=1e-9)


def test_the_interval_holds_as_many_new_cases_as_it_says() -> None:
    fitted = fit(made_samples(200, seed=3), "", "", coverage=0.8)
    fresh = made_samples(2000, seed=4)
    estimates = [fitted.estimate(s.signals) for s in fresh]
    inside = [e.low <= s.dice <= e.high for e, s in zip(estimates, fresh, strict=True)]
    assert 0.75 < np.mean(inside) < 0.85
    assert all(0 < e.low < e.dice < e.high < 1 for e in estimates)


def test_no_signal_counts_the_wrong_way_however_the_samples_lie() -> None:
    upside_down = [Sample(s.fold, s.signals, 1 - s.dice) for s in made_samples(100, seed=5)]
    calibration = fit(upside_down, "", "")
    fitted = dict(zip(calibration.features, calibration.coefficients, strict=True))
    assert fitted["confidence"] == fitted["volume"] == 0
    assert min(fitted.values()) >= 0


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
    ],
)
def test_the_shipped_calibration_never_rewards_a_worse_signal(change: dict[str, float]) -> None:
    calibration = shipped_calibration()
    good, worse = (calibration.estimate(like_good(**c)) for c in ({}, change))
    assert worse.dice <= good.dice and worse.low <= good.low and worse.high <= good.high


def test_the_shipped_calibration_tells_good_from_hopeless() -> None:
    calibration = shipped_calibration()
    hopeless = like_good(reverse=0.1, agreement=0.2, confidence=0.4, volume_ratio=5.0)
    assert calibration.estimate(like_good()).dice > 0.7
    assert calibration.estimate(hopeless).dice < 0.5
