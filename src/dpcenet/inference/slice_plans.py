"""Plans: which slices of labelled scans show the same as which slices of a query; what is asked
with them, and what was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dpcenet.inference.alignment import Alignment
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.pose import Pairs, matched_pairs
from dpcenet.inference.slice_matching import match_slices
from dpcenet.inference.support import LabelledScan, Matches, SliceTask, matched_tasks
from dpcenet.methods.base import Method
from dpcenet.system.device import Precision
from dpcenet.volumes.boxes_and_values import Mask, above

Tasks = dict[int, list[SliceTask]]
"""Label value → which support slices serve which query slices."""
Probabilities = dict[int, npt.NDArray[np.float32]]
"""Label value → (Z, H, W)."""


@dataclass(frozen=True)
class SliceMap:
    """Which support slices serve which query slices.

    Attributes:
        tasks: of each label.
        matches: for each labelled scan the slice that each query slice matches; empty where a
            protocol chose the slices.
        alignments: for each labelled scan how the query lies to it; None where the scan shows none
            of the labels, empty where scans are not aligned as volumes.
    """

    tasks: Tasks
    matches: tuple[Matches, ...] = ()
    alignments: tuple[Alignment | None, ...] = ()


@dataclass(frozen=True)
class Request:
    """What is to be segmented from what.

    Attributes:
        method: with a trained network.
        support: labelled scans, oriented like the query.
        query: the scan to be segmented.
        values: labels to segment.
        precision: in which the method computes.
    """

    method: Method
    support: Sequence[LabelledScan]
    query: EncodedScan
    values: Sequence[int]
    precision: Precision = "float32"


@dataclass(frozen=True)
class Segmented:
    """What was found in a query, in the network's geometry.

    Attributes:
        scans: the labelled scans as they served, in the query's pose.
        slices: which slices of them served.
        probability: label value → (Z, H, W) float32; 0 on slices that nothing served.
        cut: above which probability a label is.
        at_first: label value → (Z, H, W) bool, what the labelled scan shows slice by slice, before
            windows and the whole have their say; empty where several scans or slices serve.
    """

    scans: tuple[LabelledScan, ...]
    slices: SliceMap
    probability: Probabilities
    cut: float = 0.5
    at_first: Mapping[int, Mask] = field(default_factory=dict)

    @property
    def masks(self) -> dict[int, Mask]:
        """Label value → (Z, H, W) bool; by default where the label is likelier than not."""
        return {value: self.mask(value) for value in self.probability}

    def mask(self, value: int) -> Mask:
        """(Z, H, W) bool of one label."""
        return above(self.probability[value], self.cut)


class SlicePlan(ABC):
    """Says which slices of labelled scans show the same as which slices of a query.

    Attributes:
        covers_scan: whether every slice between the first and the last one that a label is looked
            for in is segmented, so that the answers make up a volume.
    """

    covers_scan: ClassVar[bool] = False

    def pairs(self, request: Request) -> list[Pairs]:
        """For each labelled scan, slices of it and of the query by which it is aligned."""
        return [[] for _ in request.support]

    @abstractmethod
    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """Which slices serve, when `aligned` are the labelled scans, aligned with the query."""


@dataclass(frozen=True)
class MatchedSlices(SlicePlan):
    """Slices are matched by the images alone: nothing is known of the query.

    Attributes:
        known: what slices match, where that was found before.
    """

    covers_scan: ClassVar[bool] = True
    known: tuple[Matches, ...] = ()

    def pairs(self, request: Request) -> list[Pairs]:
        """See `SlicePlan`."""
        return [matched_pairs(matches) for matches in self._matches(request, request.support)]

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`."""
        matches = self.known or self._matches(request, aligned)
        labels = [scan.label for scan in aligned]
        return SliceMap({v: matched_tasks(matches, labels, v) for v in request.values}, matches)

    def _matches(self, request: Request, scans: Sequence[LabelledScan]) -> tuple[Matches, ...]:
        return tuple(match_slices(request.method, scan.slices, request.query) for scan in scans)


@dataclass(frozen=True)
class Thinned(SlicePlan):
    """A plan of which only every so many slices are segmented, to save time.

    Attributes:
        plan: the whole plan.
        every: label value → of how many slices of the query one is segmented.
    """

    plan: SlicePlan
    every: Mapping[int, int]

    def pairs(self, request: Request) -> list[Pairs]:
        """See `SlicePlan`."""
        return self.plan.pairs(request)

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`."""
        whole = self.plan.slices(request, aligned)
        tasks = {value: self._thinned(value, each) for value, each in whole.tasks.items()}
        return replace(whole, tasks=tasks)

    def kept(self, value: int) -> slice:
        """The slices of the query that are segmented."""
        return slice(self.every[value] // 2, None, self.every[value])

    def _thinned(self, value: int, tasks: Sequence[SliceTask]) -> list[SliceTask]:
        first, step = self.kept(value).start, self.every[value]
        few = [
            replace(task, query=tuple(z for z in task.query if z % step == first)) for task in tasks
        ]
        return [task for task in few if task.query]
