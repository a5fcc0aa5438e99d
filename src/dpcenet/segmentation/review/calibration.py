"""From signals to a predicted Dice with an interval.

A ridge regression of logit(Dice) on five features. Each feature is higher for a better mask, and
no coefficient may be negative: with few bad masks to learn from, its sign would be chance. The
interval is split conformal: its residuals come from folds that the coefficients were not fitted on.
Its width is the same everywhere in logits; in Dice it is narrow near 1 and wide in the middle.

Source: Robinson et al., "Real-time prediction of segmentation quality" (2018), Valindria et al.,
"Reverse classification accuracy" (2017), for the task; Lei et al., "Distribution-free predictive
inference for regression" (2018), for the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from scipy.optimize import nnls

from dpcenet.segmentation.review.signals import Signals
from dpcenet.system.assets import asset

FILE = "quality.json"
RIDGE = 10.0  # weight of the penalty, in rows
COVERAGE = 0.9
LEAST, MOST = 0.1, 0.98  # a Dice beyond them counts as them, so that logits are finite

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A segmentation with its true Dice.

    Attributes:
        fold: samples of one fold are never used to predict each other.
        signals: what was measured without the truth.
        dice: the true one.
    """

    fold: int
    signals: Signals
    dice: float


@dataclass(frozen=True)
class Estimate:
    """A predicted Dice and the interval in which the true one should lie; all 0…1."""

    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """logit(Dice) = intercept + Σ coefficient · (feature − mean) / scale.

    Attributes:
        features: their names; see `quality_features`.
        means, scales, coefficients: one for each.
        intercept: logit of the Dice of a mean segmentation.
        half_width: of the interval, in logits.
        coverage: share of the true values that the interval should hold.
        rows: segmentations that it was fitted on.
        weights: sha256 of the network's weights for which it holds; see `weights.hash_of_state`.
        made_from: the data, in words.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    half_width: float
    coverage: float
    rows: int
    weights: str
    made_from: str

    def estimate(self, signals: Signals) -> Estimate:
        """The predicted Dice of a segmentation."""
        named = quality_features(signals)
        terms = zip(self.features, self.means, self.scales, self.coefficients, strict=True)
        place = self.intercept + sum(c * (named[f] - m) / s for f, m, s, c in terms)
        low, middle, high = (place + step for step in (-self.half_width, 0.0, self.half_width))
        return Estimate(_expit(middle), _expit(low), _expit(high))


def shipped_calibration() -> Calibration:
    """The calibration that comes with the package, for the network that comes with it."""
    content = asset(f"models/{FILE}").read_text("utf-8")
    return TypeAdapter(Calibration).validate_json(content)


def quality_features(signals: Signals) -> dict[str, float]:
    """Features for the regression: without units, and independent of an organ's size."""
    return {
        "reverse": _logit(signals.reverse),
        "agreement": _logit(signals.agreement),
        "confidence": _logit(signals.confidence),
        "volume": -abs(math.log(signals.volume_ratio)),
        "continuity": -signals.continuity_loss,
    }


def fit(
    samples: Sequence[Sample], weights: str, made_from: str, coverage: float = COVERAGE
) -> Calibration:
    """Fit a calibration; the interval comes from folds left out one after the other.

    Args:
        samples: of at least two folds.
        weights, made_from: provenance; see `Calibration`.
        coverage: of the interval.
    """
    residuals = []
    for fold in sorted({sample.fold for sample in samples}):
        unseen = _regress([s for s in samples if s.fold != fold], weights, made_from)
        held_out = [s for s in samples if s.fold == fold]
        residuals += [
            abs(_logit(s.dice) - _logit(unseen.estimate(s.signals).dice)) for s in held_out
        ]
    # A new residual is equally likely to take any rank among the n + 1.
    rank = min(len(residuals), math.ceil((len(residuals) + 1) * coverage))
    half_width = sorted(residuals)[rank - 1]
    return replace(_regress(samples, weights, made_from), half_width=half_width, coverage=coverage)


def _regress(samples: Sequence[Sample], weights: str, made_from: str) -> Calibration:
    """The coefficients; the interval is left empty."""
    named = [quality_features(sample.signals) for sample in samples]
    features: Matrix = np.array([list(row.values()) for row in named])
    target = np.array([_logit(sample.dice) for sample in samples])
    means, scales = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    unit = (features - means) / scales
    # The penalty as further rows, which ask for 0.
    rows = np.concatenate([unit, math.sqrt(RIDGE) * np.eye(unit.shape[1])])
    wanted = np.concatenate([target - target.mean(), np.zeros(unit.shape[1])])
    coefficients, _ = nnls(rows, wanted)
    return Calibration(
        features=tuple(named[0]),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(coefficients.tolist()),
        intercept=float(target.mean()),
        half_width=0.0,
        coverage=0.0,
        rows=len(samples),
        weights=weights,
        made_from=made_from,
    )


def _logit(share: float) -> float:
    held = min(max(share, LEAST), MOST)
    return math.log(held / (1 - held))


def _expit(place: float) -> float:
    return 1 / (1 + math.exp(-place))
