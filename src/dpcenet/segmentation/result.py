"""The result of segmenting one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dpcenet.inference.alignment import Alignment
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_plans import Tasks
from dpcenet.inference.support import LabelledScan, Matches
from dpcenet.types import Volume
from dpcenet.volumes.boxes_and_values import Mask
from dpcenet.volumes.record import Record


@dataclass(frozen=True)
class Choice:
    """Predicted Dice, 0…1, of a label's answers before and after learning; the higher one counts.

    Attributes:
        before: of the network before it learnt.
        after: the highest of the answers after learning.
        by: whose that is; see `better_answers.Answer`.
    """

    before: float
    after: float
    by: str

    @property
    def learnt(self) -> bool:
        """Whether the answer is one after learning."""
        return self.after > self.before


@dataclass(frozen=True)
class SegmentationResult:
    """The result of one query, in the network's geometry and on the query's own grid.

    Attributes:
        query: its encoded slices.
        scans: the labelled scans, aligned with the query.
        matches: for each labelled scan, its slice that each query slice matches.
        tasks: label value → which slices of the labelled scans served which query slices; of each
            scan the matched one comes before its neighbours.
        probability: label value → (Z, H, W) float32, in the network's geometry.
        record: of the preprocessing, to go back to the query's own grid.
        mask: uint8 label values on the query's own grid; 0 is background. Where labels overlap,
            the more probable one wins.
        alignments: for each labelled scan how the query lies to it; None where the scan shows none
            of the labels, empty where slices were matched one by one.
        at_first: see `Segmented`.
        choices: label value → which of several answers was taken; empty without `--learn`.
    """

    query: EncodedScan
    scans: tuple[LabelledScan, ...]
    matches: tuple[Matches, ...]
    tasks: Tasks
    probability: dict[int, npt.NDArray[np.float32]]
    record: Record
    mask: Volume
    alignments: tuple[Alignment | None, ...] = ()
    at_first: Mapping[int, Mask] = field(default_factory=dict)
    choices: Mapping[int, Choice] = field(default_factory=dict)

    def with_probability(
        self, probability: dict[int, npt.NDArray[np.float32]]
    ) -> SegmentationResult:
        """The same with other probabilities, and the mask that they make."""
        mask = Volume(self.record.restore_labels(probability), self.mask.affine)
        return replace(self, probability=probability, mask=mask)

    def answered_by(self, other: SegmentationResult) -> SegmentationResult:
        """The answer of another result, to be judged from this one's labelled scans.

        From several labelled scans nothing is seen at first, so nothing of the other's counts.
        """
        at_first = other.at_first if self.at_first else {}
        return replace(self, probability=other.probability, mask=other.mask, at_first=at_first)
