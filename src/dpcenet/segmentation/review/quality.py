"""Which results to trust: a predicted Dice per label, an interval, a flag and the reasons.

The one definition of the flags, for the commands, the page and the app:

accept  at least the asked Dice is expected in 9 of 10 such cases, and nothing speaks against it
reject  a Dice below 0.5 is expected, or nothing was found
look    everything else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dpcenet.inference.predictor import Predictor
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.calibration import Calibration, shipped_calibration
from dpcenet.segmentation.review.reasons import reasons_against
from dpcenet.segmentation.review.signals import Signals, measure
from dpcenet.system.texts import Words, saying
from dpcenet.volumes.boxes_and_values import values_in

Flag = Literal["accept", "look", "reject"]

BAD = 0.5
"""A Dice below this is a bad mask."""

ACCEPT_DICE = 0.7
"""The Dice that a mask must have, at least, to be of use as it is: the person's choice. Unless they
say otherwise, the highest for which "9 of 10" was found to hold (docs/quality.md)."""


OTHER_NETWORK = "the predicted Dice was calibrated for another network"


@dataclass(frozen=True)
class Quality:
    """How good the mask of one label of one query probably is.

    Attributes:
        dice: predicted, 0…1.
        low, high: of 10 such masks, 9 should have a true Dice of at least `low`, and 9 of at most
            `high`.
        flag: accept, look or reject; see `flag_of`.
        reasons: why the mask may be wrong, in words.
        signals: what was measured; None where the mask is empty.
        calibrated: whether the calibration was made for the weights that segmented.
        accept_dice: the Dice that was asked for when the flag was given.
    """

    dice: float
    low: float
    high: float
    flag: Flag
    reasons: tuple[str, ...]
    signals: Signals | None
    calibrated: bool
    accept_dice: float = ACCEPT_DICE

    def asking(self, accept_dice: float) -> Quality:
        """The same mask, flagged for another Dice that is asked for."""
        flag = flag_of(self.dice, self.low, self.reasons, accept_dice)
        return replace(self, flag=flag, accept_dice=accept_dice)

    def __repr__(self) -> str:
        return f"Quality(Dice {self.dice:.2f}, {self.low:.2f} to {self.high:.2f}, {self.flag})"


def assess(
    predictor: Predictor,
    result: SegmentationResult,
    calibration: Calibration | None = None,
    accept_dice: float = ACCEPT_DICE,
    against_all: Sequence[str] = (),
) -> dict[int, Quality]:
    """Predict the quality of every label of a result.

    Args:
        predictor: that made `result`.
        result: what `Segmenter.find` found in the query.
        calibration: from signals to Dice; by default the one that comes with the package.
        accept_dice: the Dice that a mask must have to be accepted.
        against_all: what speaks against the scan as a whole; see `mismatches`.

    Returns:
        label value → quality, for every label of the support.
    """
    chosen = calibration or shipped_calibration()
    calibrated = chosen.weights == hash_of_state(predictor.method)
    signals = measure(predictor, result)
    found = set(values_in(result.mask.data))
    return {
        value: judge(signals[value], chosen, calibrated, accept_dice, against_all)
        if value in signals and value in found
        else nothing_found(calibrated, accept_dice, against_all)
        for value in result.probability
    }


def judge(
    signals: Signals,
    calibration: Calibration,
    calibrated: bool = True,
    accept_dice: float = ACCEPT_DICE,
    against_all: Sequence[str] = (),
) -> Quality:
    """The quality of a mask, from its signals; for the other arguments see `assess`."""
    estimate = calibration.estimate(signals)
    reasons = (*against_all, *reasons_against(signals), *(() if calibrated else (OTHER_NETWORK,)))
    flag = flag_of(estimate.dice, estimate.low, reasons, accept_dice)
    return Quality(
        estimate.dice,
        estimate.low,
        estimate.high,
        flag,
        reasons,
        signals,
        calibrated,
        accept_dice,
    )


def nothing_found(
    calibrated: bool = True, accept_dice: float = ACCEPT_DICE, against_all: Sequence[str] = ()
) -> Quality:
    """The quality of an empty mask: the labelled scans show the label, so it was most likely
    missed, or dropped as too small."""
    reasons = ("nothing was found", *against_all)
    return Quality(0.0, 0.0, 0.0, "reject", reasons, None, calibrated, accept_dice)


def flag_of(dice: float, low: float, reasons: Sequence[str], accept_dice: float) -> Flag:
    """The flag of a mask.

    Args:
        dice, low: predicted, and the lower end of its interval.
        reasons: what speaks against the mask.
        accept_dice: the Dice that is asked for.
    """
    if dice < BAD:
        return "reject"
    return "look" if low < accept_dice or reasons else "accept"


def accept_words(accept_dice: float, say: Words | None = None) -> str:
    """What "accept" means, in the words of a language; English by default."""
    return saying("review.accept.means", dice=f"{accept_dice:.2f}").said(say)
