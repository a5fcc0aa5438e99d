"""After learning, each label of each scan takes the best of several answers.

    before       the network before learning, from the labelled scans
    learnt       the network that learnt, from the labelled scans
    pseudo-      the network that learnt, from another scan of the folder with the answer for that
    labelled     scan in place of labels that a person drew; one answer from each such scan

None is trusted blindly: a network that learnt finds organs that were missed before, and now and
then takes another organ for one that was right. Of each label the answer with the highest predicted
Dice counts, for which the labels that a person drew are sought from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import EncodedScan, encode_slices
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.quality import Quality

LEARNT = "after learning"
MOST = 2  # pseudo-labelled scans that answer for a scan; each takes as long as a segmentation


@dataclass(frozen=True)
class Answer:
    """One of several results for a query.

    Attributes:
        by: whose it is: "" before learning, `LEARNT`, or the name of a pseudo-labelled scan.
        result: what was found.
        quality: of each label, judged by the network that made it.
    """

    by: str
    result: SegmentationResult
    quality: Mapping[int, Quality]


@dataclass(frozen=True)
class LearntNetwork:
    """A network that learnt from labelled scans, and what it answers from.

    Attributes:
        predictor: with the network.
        scans: digest of each labelled scan → the scan as this network sees it.
        pseudo_labelled: scans with answers in place of labels that a person drew, the best first.
    """

    predictor: Predictor
    scans: Mapping[str, LabelledScan]
    pseudo_labelled: tuple[LabelledScan, ...] = ()

    @staticmethod
    def of(predictor: Predictor, support: Support) -> LearntNetwork:
        """A network, and the labelled scans that it learnt from, which it encodes."""
        scans = {
            scan.digest: replace(scan, slices=seen_by(predictor, scan.slices))
            for scan in support.scans
        }
        return LearntNetwork(predictor, scans)

    @property
    def identity(self) -> list[str]:
        """What answers depend on: sha256 of the weights, and of each pseudo-labelled scan."""
        return [
            hash_of_state(self.predictor.method),
            *(scan.digest for scan in self.pseudo_labelled),
        ]

    def answers_from(
        self, support: Support, query: EncodedScan
    ) -> Iterator[tuple[str, list[LabelledScan]]]:
        """Whose answer comes from which scans: the labelled ones, and each pseudo-labelled one.

        A scan does not answer for itself.

        Raises:
            ConfigError: the network did not learn from these labelled scans.
        """
        if not all(scan.digest in self.scans for scan in support.scans):
            names = " and ".join(scan.name for scan in self.scans.values())
            raise ConfigError(f"the network learnt from {names}; segment from the same scans")
        yield LEARNT, [self.scans[scan.digest] for scan in support.scans]
        others = [scan for scan in self.pseudo_labelled if not _same_images(scan.slices, query)]
        yield from ((scan.name, [scan]) for scan in others[:MOST])


def best_of(answers: Sequence[Answer]) -> SegmentationResult:
    """The first result with the answer of the highest predicted Dice for each label.

    Each answer is judged by the network that made it: another one would miss what only the first
    saw at a first look (the signal "agreement").
    """
    first, *later = answers
    of, choices = dict[int, SegmentationResult](), dict[int, Choice]()
    for value in first.result.probability:
        best = max(later, key=lambda answer: answer.quality[value].dice)
        choices[value] = Choice(first.quality[value].dice, best.quality[value].dice, best.by)
        of[value] = (best if choices[value].learnt else first).result
    found = first.result.with_probability({v: each.probability[v] for v, each in of.items()})
    seen = all(value in each.at_first for value, each in of.items())
    at_first = {v: each.at_first[v] for v, each in of.items()} if seen else {}
    return replace(found, choices=choices, at_first=at_first)


def seen_by(predictor: Predictor, slices: EncodedScan) -> EncodedScan:
    """A scan with the features of another network."""
    features = encode_slices(predictor.method, slices.images, predictor.precision)
    return replace(slices, features=features)


def _same_images(one: EncodedScan, two: EncodedScan) -> bool:
    return one.images.shape == two.images.shape and torch.equal(one.images, two.images)
