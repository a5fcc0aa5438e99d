"""How a query is evaluated: options of the protocols, and the two that choose slices by rule.

`OrganChunks` (EP1 of the literature) is told which slices of the query show the organ: its truth.
Only this folder may know it. `MiddleSlice` (EP2) and the predictor's own plan ("blind") know
nothing of the query's labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.evaluation.scores import Protocol
from dpcenet.inference.pose import Pairs
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import MatchedSlices, Request, SliceMap, SlicePlan
from dpcenet.inference.support import LabelledScan, Labels, SliceTask, SupportSlice, organ_slices

EACH_SLICE = 0  # in place of a number of chunks
Bounds = Literal["number", "range"]
"""How organ slices are cut into chunks: evenly by their number (ADNet's lineage), or evenly by
their place between the first and the last (SSL-ALPNet's)."""


@dataclass(frozen=True)
class ProtocolOptions:
    """How a run is evaluated.

    Attributes:
        protocol: what is known of the query.
        support: which scan of the fold is the labelled one: first, last, all, or its index.
        shots: labelled scans at once: that one and those after it.
        chunks: of "paper": 3, or 1, or `EACH_SLICE`.
        bounds: of "paper": how organ slices are cut into chunks.
        neighbours: support slices on either side that help; None takes the method's own number.
        without: modules of the method that are taken out, as if they changed nothing.
        cut: a label is where its probability is above "half", or above the cut that the training
            "checked" on held-out episodes; the latter is outside the literature's protocol.
        registered: also score what a registration of the scans in 3-D gives: the row `register`,
            a minute of a core for each pair of scans, once for each run that asks for it.
        as_volume: also where the organ's slices are told, their answers are seen as one volume
            (`inference.whole_scan`); outside the literature's protocol.
    """

    protocol: Protocol = "paper"
    support: str = "last"
    shots: int = 1
    chunks: int = 3
    bounds: Bounds = "number"
    neighbours: int | None = None
    without: tuple[str, ...] = ()
    cut: Literal["half", "checked"] = "half"
    registered: bool = False
    as_volume: bool = False

    @property
    def sees_volume(self) -> bool:
        """Whether slices' answers are seen as one volume: where nothing is known, as `segment`."""
        return self.as_volume or self.protocol == "blind"

    def plan(
        self, predictor: Predictor, support: Sequence[LabelledScan], query: LabelledScan
    ) -> SlicePlan:
        """Which slices serve which; only "paper" looks at the query's labels."""
        if self.protocol == "blind":
            return predictor.blind_plan(support, query.slices)
        if self.protocol == "ep2":
            return MiddleSlice()
        return OrganChunks(query.label, self.chunks, self.bounds)

    @property
    def tag(self) -> str:
        """What the files of this evaluation are called after."""
        shots = f"-{self.shots}shot" if self.shots > 1 else ""
        near = "" if self.neighbours is None else f"-near{self.neighbours}"
        without = "".join(f"-without-{name}" for name in self.without)
        cut = "-cut" if self.cut == "checked" else ""
        volume = "-volume" if self.as_volume else ""
        return f"{self.protocol}{shots}{near}{without}{cut}{volume}"


@dataclass(frozen=True)
class OrganChunks(SlicePlan):
    """EP1: the query's organ slices in runs; run k uses support slice k of every support.

    With a run for each slice, it uses the support slice at the same height of the organ.

    Attributes:
        truth: (Z, H, W), the labels of the query.
        chunks: number of runs: 3, or 1, or `EACH_SLICE`.
        bounds: how the slices are cut into runs.

    Source: SSL-ALPNet and ADNet's evaluation; see docs/protocols.md.
    """

    covers_scan: ClassVar[bool] = True
    truth: Labels
    chunks: int = 3
    bounds: Bounds = "number"

    def pairs(self, request: Request) -> list[Pairs]:
        """Each support slice of a label, with the middle slice of its run."""
        labels = [scan.label for scan in request.support]
        tasks = [task for value in request.values for task in self.tasks(labels, value)]
        middle = [(one, task.query[len(task.query) // 2]) for task in tasks for one in task.support]
        return [
            [(one.z, q) for one, q in middle if one.scan == n] for n in range(len(request.support))
        ]

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`: the runs depend on the labels as they were drawn."""
        labels = [scan.label for scan in request.support]
        return SliceMap({value: self.tasks(labels, value) for value in request.values})

    def tasks(self, labels: Sequence[Labels], value: int) -> list[SliceTask]:
        """The runs of one label; none where no support shows it, or the query does not."""
        shown = organ_slices(self.truth, value)
        chunks = self.chunks or len(shown)
        serving = support_slices(labels, value, chunks)
        if not serving or not len(shown):
            return []
        runs = zip(serving, chunks_of(shown, chunks, self.bounds), strict=True)
        return [SliceTask(support, query) for support, query in runs if query]


@dataclass(frozen=True)
class MiddleSlice(MatchedSlices):
    """EP2: the middle organ slice of every support serves all slices of the query.

    Labelled scans are aligned by slices that match by the images, as where nothing is known.

    Source: ADNet's evaluation (Hansen et al., 2022).
    """

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`; nothing serves a label that no support shows."""
        labels, every = [scan.label for scan in request.support], tuple(range(len(request.query)))
        return SliceMap(
            {
                value: [SliceTask(serving, every) for serving in support_slices(labels, value, 1)]
                for value in request.values
            }
        )


@dataclass(frozen=True)
class SameSlices(SlicePlan):
    """The slices that another method was given, so that both are compared on the same task."""

    chosen: SliceMap

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`."""
        return self.chosen


def support_positions(count: int, chunks: int) -> list[int]:
    """Positions among `count` organ slices that serve as support: int(p·count), p = 1/6, 1/2, 5/6
    for three chunks, 1/2 for one."""
    return [int((2 * k + 1) / (2 * chunks) * count) for k in range(chunks)]


def chunk_bounds(count: int, chunks: int) -> list[int]:
    """Bounds of `chunks` runs of `count` slices: int(linspace(0, count, chunks + 1))."""
    return [int(bound) for bound in np.linspace(0, count, chunks + 1)]


def chunks_of(slices: npt.NDArray[np.int64], chunks: int, bounds: Bounds) -> list[tuple[int, ...]]:
    """Organ slices in `chunks` runs, by one of the two rules of the literature.

    By "range", slice z belongs to chunk floor((z − first) / ((last − first) / chunks)), the last
    one to the last chunk; one slice alone, for which the rule divides by zero, to the middle one.
    """
    if bounds == "number":
        runs = pairwise(chunk_bounds(len(slices), chunks))
        return [tuple(slices[low:high].tolist()) for low, high in runs]
    first, last = int(slices[0]), int(slices[-1])
    if first == last:
        place = np.full(1, chunks // 2)
    else:
        step = (last - first) / chunks
        place = np.clip(np.floor((slices - first) / step), 0, chunks - 1).astype(np.int64)
    return [tuple(slices[place == k].tolist()) for k in range(chunks)]


def support_slices(
    labels: Sequence[Labels], value: int, chunks: int
) -> list[tuple[SupportSlice, ...]]:
    """For each chunk a slice of every support that shows the organ; none if no support does."""
    chosen = []
    for scan, label in enumerate(labels):
        shown = organ_slices(label, value)
        if len(shown):
            places = support_positions(len(shown), chunks)
            chosen.append([SupportSlice(scan, int(shown[place])) for place in places])
    return list(zip(*chosen, strict=True))
