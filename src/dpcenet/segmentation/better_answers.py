"""After learning, each label of each scan takes the better of two answers.

A network that learnt from the labelled scans finds organs that were missed before, and now and then
takes another organ for one that was right. So both networks segment a scan, and of each label the
answer with the higher predicted Dice counts. The network before learning predicts both: for it the
predicted Dice is calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import EncodedScan, encode_slices
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.quality import assess

Probabilities = Mapping[int, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class LearntNetwork:
    """A network that learnt from labelled scans.

    Attributes:
        predictor: with the network.
        scans: digest of each labelled scan → the scan as this network sees it.
    """

    predictor: Predictor
    scans: Mapping[str, LabelledScan]

    @staticmethod
    def of(predictor: Predictor, support: Support) -> LearntNetwork:
        """A network, and the labelled scans that it learnt from, which it encodes."""
        scans = {
            scan.digest: replace(scan, slices=_seen_by(predictor, scan.slices))
            for scan in support.scans
        }
        return LearntNetwork(predictor, scans)

    def answers(self, support: Support, query: EncodedScan) -> Probabilities:
        """Probabilities (Z, H, W) of each label of a query.

        Raises:
            ConfigError: the network did not learn from these labelled scans.
        """
        if not all(scan.digest in self.scans for scan in support.scans):
            names = " and ".join(scan.name for scan in self.scans.values())
            raise ConfigError(f"the network learnt from {names}; segment from the same scans")
        scans = [self.scans[scan.digest] for scan in support.scans]
        slices = _seen_by(self.predictor, query)
        plan = self.predictor.blind_plan(scans, slices)
        return self.predictor.segment(scans, slices, plan, support.values).probability


def better_answers(
    predictor: Predictor, before: SegmentationResult, after: Probabilities
) -> SegmentationResult:
    """The result of a query with the better answer for each label.

    Args:
        predictor: with the network before learning.
        before: its result.
        after: probabilities (Z, H, W) of each label by the network that learnt.
    """
    learnt = before.with_probability(dict(after))
    dices = [
        {value: quality.dice for value, quality in assess(predictor, each).items()}
        for each in (before, learnt)
    ]
    choices = {value: Choice(dices[0][value], dices[1][value]) for value in before.probability}
    best = {
        value: (learnt if choice.learnt else before).probability[value]
        for value, choice in choices.items()
    }
    return replace(before.with_probability(best), choices=choices)


def _seen_by(predictor: Predictor, slices: EncodedScan) -> EncodedScan:
    """A scan with the features of another network."""
    features = encode_slices(predictor.method, slices.images, predictor.precision)
    return replace(slices, features=features)
