"""How a query is evaluated: the protocols that are told which slices show the organ, and their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from dpcenet.data.store import PreparedCase
from dpcenet.evaluation.scores import Protocol
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.slice_tasks import (
    Labels,
    SliceTask,
    _starts,
    organ_slices,
)
from dpcenet.methods.base import Method

Bounds = Literal["number", "range"]


"""How organ slices are cut into chunks: evenly by their number (ADNet's lineage), or evenly by
their place between the first and the last (SSL-ALPNet's)."""


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


def organ_tasks(
    support_labels: Sequence[Labels],
    query_label: Labels,
    value: int,
    chunks: int = 3,
    bounds: Bounds = "number",
) -> list[SliceTask]:
    """EP1: the query's organ slices in `chunks` runs; run k uses support slice k of every support.

    Args:
        support_labels: (Z, H, W) of each support scan.
        query_label: (Z, H, W) of the query: its truth.
        value: the label.
        chunks: 3, or 1.
        bounds: how the slices are cut into runs.

    Returns:
        the tasks; none where no support shows the organ, or the query does not.

    Source: SSL-ALPNet and ADNet's evaluation; see docs/protocols.md.
    """
    serving = _support_slices(support_labels, value, chunks)
    ours = organ_slices(query_label, value)
    if not serving or not len(ours):
        return []
    runs = zip(serving, chunks_of(ours, chunks, bounds), strict=True)
    return [SliceTask(support, query) for support, query in runs if query]


def every_slice_tasks(
    support_labels: Sequence[Labels], query_slices: int, value: int
) -> list[SliceTask]:
    """EP2: the middle organ slice of every support serves all slices of the query.

    None where no support shows the organ.

    Source: ADNet's evaluation (Hansen et al., 2022).
    """
    serving = _support_slices(support_labels, value, 1)
    return [SliceTask(support, tuple(range(query_slices))) for support in serving]


def _support_slices(
    support_labels: Sequence[Labels], value: int, chunks: int
) -> list[tuple[int, ...]]:
    """For each chunk a slice of every support that shows the organ; none if no support does."""
    chosen = []
    for start, label in zip(_starts(support_labels), support_labels, strict=True):
        slices = organ_slices(label, value)
        if len(slices):
            chosen.append([start + int(slices[p]) for p in support_positions(len(slices), chunks)])
    return list(zip(*chosen, strict=True))


@dataclass(frozen=True)
class Rules:
    """How a run is evaluated.

    Attributes:
        protocol: what is known of the query.
        support: which scan of the fold is the labelled one: first, last, all, or its index.
        shots: labelled scans at once: that one and those after it.
        chunks: of "paper": 3, or 1.
        bounds: of "paper": how organ slices are cut into chunks.
        neighbours: support slices on either side that help; None takes the method's own number.
    """

    protocol: Protocol = "paper"
    support: str = "last"
    shots: int = 1
    chunks: int = 3
    bounds: Bounds = "number"
    neighbours: int | None = None

    def reach(self, method: Method) -> int:
        """How many neighbours help."""
        return method.neighbours if self.neighbours is None else self.neighbours

    @property
    def tag(self) -> str:
        """What the files of this evaluation are called after."""
        shots = f"-{self.shots}shot" if self.shots > 1 else ""
        near = "" if self.neighbours is None else f"-near{self.neighbours}"
        return f"{self.protocol}{shots}{near}"


@dataclass(frozen=True)
class Scans:
    """One scan, or several support scans as one: slices of all, one scan after the other."""

    cases: tuple[PreparedCase, ...]
    slices: Encoded

    @property
    def name(self) -> str:
        """The cases' names with a plus between them."""
        return "+".join(case.name for case in self.cases)

    @property
    def labels(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """(Z, H, W) of each."""
        return tuple(case.label for case in self.cases)

    def each(self) -> list[Encoded]:
        """The features of each scan."""
        stops = np.cumsum([len(case.image) for case in self.cases]).tolist()
        rows = [
            slice(stop - len(case.image), stop)
            for case, stop in zip(self.cases, stops, strict=True)
        ]
        images, features = self.slices.images, self.slices.features
        return [
            Encoded(images[part], features.rows(part), case.spacing)
            for case, part in zip(self.cases, rows, strict=True)
        ]


def serving_slices(tasks: Sequence[SliceTask], count: int) -> npt.NDArray[np.int16]:
    """(Z,) the first support slice that served each query slice, −1 where none did."""
    served = np.full(count, -1, dtype=np.int16)
    for task in tasks:
        served[list(task.query)] = task.support[0]
    return served
