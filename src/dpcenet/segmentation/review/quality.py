"""Which results to trust: a predicted Dice per label, an interval, a flag and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.calibration import Calibration, shipped_calibration
from dpcenet.segmentation.review.signals import Signals, measure
from dpcenet.segmentation.segmenter import Segmenter

Flag = Literal["accept", "look", "reject"]

BAD = 0.5
"""A Dice below this is a bad mask. reject: the predicted Dice is below it; look: only the lower end
of the interval is; accept: the whole interval is above it."""


@dataclass(frozen=True)
class Quality:
    """How good the mask of one label of one query probably is.

    Attributes:
        dice: predicted, 0…1.
        low, high: the interval in which the true Dice should lie.
        flag: accept, look or reject; see `BAD`.
        reasons: why the mask may be wrong, in words.
        signals: what was measured; None where the mask is empty.
        calibrated: whether the calibration was made for the weights that segmented.
    """

    dice: float
    low: float
    high: float
    flag: Flag
    reasons: tuple[str, ...]
    signals: Signals | None
    calibrated: bool

    def __repr__(self) -> str:
        return f"Quality(Dice {self.dice:.2f}, {self.low:.2f} to {self.high:.2f}, {self.flag})"


def assess(
    segmenter: Segmenter,
    result: SegmentationResult,
    calibration: Calibration | None = None,
) -> dict[int, Quality]:
    """Predict the quality of every label of a result.

    Args:
        segmenter: that made `result`.
        result: what `Segmenter.find` found in the query.
        calibration: from signals to Dice; by default the one that comes with the package.

    Returns:
        label value → quality, for every label of the support.
    """
    chosen = calibration or shipped_calibration()
    calibrated = chosen.weights == hash_of_state(segmenter.predictor.method)
    signals = measure(segmenter.predictor, result)
    return {
        value: judge(signals[value], chosen, calibrated)
        if value in signals and bool((result.mask.data == value).any())
        else nothing_found(calibrated)
        for value in result.probability
    }


def judge(signals: Signals, calibration: Calibration, calibrated: bool = True) -> Quality:
    """The quality of a mask, from its signals."""
    estimate = calibration.estimate(signals)
    return Quality(
        estimate.dice,
        estimate.low,
        estimate.high,
        flag_of(estimate.dice, estimate.low),
        reasons_against(signals),
        signals,
        calibrated,
    )


def nothing_found(calibrated: bool = True) -> Quality:
    """The quality of an empty mask: the labelled scans show the label, so it was most likely
    missed, or dropped as too small."""
    return Quality(0.0, 0.0, 0.0, "reject", ("nothing was found",), None, calibrated)


def flag_of(dice: float, low: float) -> Flag:
    """The flag of a predicted Dice and the lower end of its interval."""
    if dice < BAD:
        return "reject"
    return "look" if low < BAD else "accept"


def reasons_against(signals: Signals) -> tuple[str, ...]:
    """What is unusual in a mask, in words for people who do not know the method."""
    ratio, shape = signals.volume_ratio, signals.shape
    checks = (
        (
            signals.confidence < 0.8,
            f"many voxels are undecided (confidence {signals.confidence:.2f})",
        ),
        (
            signals.agreement < 0.7,
            f"the answer changes with the labelled slices used (agreement {signals.agreement:.2f})",
        ),
        (
            signals.reverse < 0.6,
            f"the labelled scan is not found back from this mask (Dice {signals.reverse:.2f})",
        ),
        (not 0.5 < ratio < 2.0, f"{ratio:.1f} times the labelled volume"),
        (shape.largest < 0.8, f"in {shape.components} parts"),
        (signals.continuity_loss > 0.15, "neighbouring slices differ much"),
    )
    return tuple(words for unusual, words in checks if unusual)
