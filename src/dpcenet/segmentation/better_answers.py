"""After learning, each label of each scan takes the better of two answers.

A network that learnt from the labelled scans finds organs that were missed before, and now and then
takes another organ for one that was right. So both networks segment a scan, and of each label the
answer with the higher predicted Dice counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import EncodedScan, encode_slices
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.quality import Quality


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

    def sees(self, support: Support, query: EncodedScan) -> tuple[list[LabelledScan], EncodedScan]:
        """The labelled scans and a query with the features of this network.

        Raises:
            ConfigError: the network did not learn from these labelled scans.
        """
        if not all(scan.digest in self.scans for scan in support.scans):
            names = " and ".join(scan.name for scan in self.scans.values())
            raise ConfigError(f"the network learnt from {names}; segment from the same scans")
        scans = [self.scans[scan.digest] for scan in support.scans]
        return scans, _seen_by(self.predictor, query)


def better_answers(
    before: SegmentationResult,
    judged_before: Mapping[int, Quality],
    after: SegmentationResult,
    judged_after: Mapping[int, Quality],
) -> SegmentationResult:
    """Of two results for one query the answer with the higher predicted Dice for each label.

    Each result is judged by the network that made it: another one would miss what only the first
    saw at a first look (the signal "agreement").
    """
    choices = {v: Choice(judged_before[v].dice, judged_after[v].dice) for v in before.probability}
    of = {value: after if choice.learnt else before for value, choice in choices.items()}
    best = before.with_probability({value: each.probability[value] for value, each in of.items()})
    at_first = {v: each.at_first[v] for v, each in of.items() if v in each.at_first}
    return replace(best, choices=choices, at_first=at_first)


def _seen_by(predictor: Predictor, slices: EncodedScan) -> EncodedScan:
    """A scan with the features of another network."""
    features = encode_slices(predictor.method, slices.images, predictor.precision)
    return replace(slices, features=features)
