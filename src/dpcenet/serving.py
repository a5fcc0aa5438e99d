"""Which support slices serve which slices of a query, by the protocol, and in which pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.config import Precision
from dpcenet.datasets.store import PreparedCase
from dpcenet.engine import match_slices
from dpcenet.episodes.protocol import (
    Bounds,
    SliceTask,
    blind_shot_tasks,
    every_slice_tasks,
    organ_tasks,
    with_neighbours,
)
from dpcenet.methods.base import Method
from dpcenet.posing import bring, matched_pairs, pairs_of
from dpcenet.scores import Protocol
from dpcenet.types import Encoded


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


def posed_support(
    method: Method,
    support: Scans,
    query: Scans,
    rules: Rules,
    asked: Mapping[int, list[SliceTask]],
    matches: Sequence[npt.NDArray[np.int64]],
    precision: Precision,
) -> tuple[Encoded, npt.NDArray[np.uint8], dict[int, list[SliceTask]]]:
    """The support's slices and labels in the query's pose, and each label's tasks for the method.

    Where slices are matched by the images alone, they are matched again in that pose.
    """
    every, scans, start = [task for tasks in asked.values() for task in tasks], [], 0
    labels: list[npt.NDArray[np.uint8]] = []
    for n, (case, slices) in enumerate(zip(support.cases, support.each(), strict=True)):
        wanted = np.where(np.isin(case.label, list(asked)), case.label, 0).astype(np.uint8)
        pairs = [(s - start, q) for s, q in pairs_of(every) if 0 <= s - start < len(wanted)]
        if rules.protocol == "blind":
            pairs = matched_pairs(matches[n], wanted)
        one, label = bring(method, slices, wanted, query.slices, pairs, precision)
        scans.append(one)
        labels.append(label)
        start += len(wanted)
    if rules.protocol == "blind" and method.pose_search is not None:
        again = [match_slices(method, one, query.slices) for one in scans]
        asked = {v: tasks_of(rules, support, query.cases[0], v, again) for v in asked}
    near = {
        value: with_neighbours(tasks, support.labels, value, rules.reach(method))
        for value, tasks in asked.items()
    }
    return Encoded.join(scans), np.concatenate(labels), near


def tasks_of(
    rules: Rules,
    support: Scans,
    query: PreparedCase,
    value: int,
    matches: Sequence[npt.NDArray[np.int64]],
) -> list[SliceTask]:
    """Which support slices serve which slices of the query, by the protocol."""
    if rules.protocol == "blind":
        return blind_shot_tasks(matches, support.labels, value)
    if rules.protocol == "ep2":
        return every_slice_tasks(support.labels, len(query.image), value)
    return organ_tasks(support.labels, query.label, value, rules.chunks, rules.bounds)


def serving_slices(tasks: Sequence[SliceTask], count: int) -> npt.NDArray[np.int16]:
    """(Z,) the first support slice that served each query slice, −1 where none did."""
    served = np.full(count, -1, dtype=np.int16)
    for task in tasks:
        served[list(task.query)] = task.support[0]
    return served
