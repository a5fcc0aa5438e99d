"""From signals to a predicted Dice with an interval.

A ridge regression of logit(Dice) on eight features. Each feature is higher for a better mask, and
no coefficient may be negative: with few bad masks to learn from, its sign would be chance. Each end
of the interval is split conformal: its residuals come from folds that the coefficients were not
fitted on. Its width is the same everywhere in logits; in Dice it is narrow near 1 and wide in the
middle. A feature that could not be measured counts as an average one.

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

from dpcenet.segmentation.review.signals import Signals
from dpcenet.system.assets import asset

FILE = "quality.json"
RIDGE = 10.0  # weight of the penalty, in rows
COVERAGE = 0.9
FAR = 2.0  # sides of a cube of the organ's volume; beyond it, how far does not matter
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

    fold: str
    signals: Signals
    dice: float


@dataclass(frozen=True)
class Estimate:
    """A predicted Dice, and what a share `coverage` of such masks have at least, at most; 0…1."""

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
        below, above: from the prediction to the ends of the interval, in logits.
        coverage: share of the true values that should lie above the lower end, and below the upper.
        rows: segmentations that it was fitted on.
        weights: sha256 of the network's weights for which it holds; see `weights.hash_of_state`.
        made_from: the data, in words.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    below: float
    above: float
    coverage: float
    rows: int
    weights: str
    made_from: str

    def estimate(self, signals: Signals) -> Estimate:
        """The predicted Dice of a segmentation."""
        named = quality_features(signals)
        terms = zip(self.features, self.means, self.scales, self.coefficients, strict=True)
        known = ((named[feature], m, s, c) for feature, m, s, c in terms)
        place = self.intercept + sum(c * (x - m) / s for x, m, s, c in known if x is not None)
        low, middle, high = (place + step for step in (-self.below, 0.0, self.above))
        return Estimate(_expit(middle), _expit(low), _expit(high))


def shipped_calibration() -> Calibration:
    """The calibration that comes with the package, for the network that comes with it."""
    content = asset(f"models/{FILE}").read_text("utf-8")
    return TypeAdapter(Calibration).validate_json(content)


def quality_features(signals: Signals) -> dict[str, float | None]:
    """Features for the regression: without units, and independent of an organ's size."""
    away = signals.displacement_mm
    return {
        "reverse": _logit(signals.reverse),
        "agreement": _logit(signals.agreement),
        "confidence": _logit(signals.confidence),
        "volume": -abs(math.log(signals.volume_ratio)),
        "continuity": -signals.continuity_loss,
        "territory": -max(signals.taken, signals.claimed),
        "place": None if away is None else -min(away / signals.size_mm, FAR),
        "alignment": signals.alignment,
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
    residuals: list[float] = []
    for fold in sorted({sample.fold for sample in samples}):
        unseen = _regress([s for s in samples if s.fold != fold], weights, made_from)
        held_out = [s for s in samples if s.fold == fold]
        residuals += [_logit(s.dice) - _logit(unseen.estimate(s.signals).dice) for s in held_out]
    return replace(
        _regress(samples, weights, made_from),
        below=max(0.0, _quantile([-one for one in residuals], coverage)),
        above=max(0.0, _quantile(residuals, coverage)),
        coverage=coverage,
    )


def _quantile(residuals: Sequence[float], coverage: float) -> float:
    """What a new residual exceeds with a probability of 1 − coverage at most."""
    # It is equally likely to take any rank among the n + 1.
    rank = min(len(residuals), math.ceil((len(residuals) + 1) * coverage))
    return sorted(residuals)[rank - 1]


def _regress(samples: Sequence[Sample], weights: str, made_from: str) -> Calibration:
    """The coefficients; the interval is left empty."""
    named = [quality_features(sample.signals) for sample in samples]
    features: Matrix = np.array([list(row.values()) for row in named], dtype=np.float64)
    target = np.array([_logit(sample.dice) for sample in samples])
    means = np.array([_mean(column[~np.isnan(column)]) for column in features.T])
    features = np.where(np.isnan(features), means, features)
    scales = np.maximum(features.std(axis=0), 1e-6)
    unit = (features - means) / scales
    from scipy.optimize import nnls  # a tenth of a second, which predicting need not wait

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
        below=0.0,
        above=0.0,
        coverage=0.0,
        rows=len(samples),
        weights=weights,
        made_from=made_from,
    )


def _mean(known: Matrix) -> float:
    return float(known.mean()) if len(known) else 0.0


def _logit(share: float) -> float:
    held = min(max(share, LEAST), MOST)
    return math.log(held / (1 - held))


def _expit(place: float) -> float:
    return 1 / (1 + math.exp(-place))
