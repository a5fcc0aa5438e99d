"""Which support slices serve which slices of a query, by the protocol, and in which pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dpcenet.data.store import PreparedCase
from dpcenet.evaluation.scores import Protocol
from dpcenet.inference.batched import match_slices
from dpcenet.inference.pose_search import bring, matched_pairs, pairs_of
from dpcenet.inference.slice_tasks import (
    Bounds,
    SliceTask,
    blind_shot_tasks,
    every_slice_tasks,
    organ_tasks,
    with_neighbours,
)
from dpcenet.methods.base import Method
from dpcenet.system.device import Precision
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


@dataclass(frozen=True)
class Serving:
    """What a method is given to segment a query.

    Attributes:
        slices, label: of all support scans, one after the other.
        tasks: label value → which support slices serve which query slices.
    """

    slices: Encoded
    label: npt.NDArray[np.uint8]
    tasks: dict[int, list[SliceTask]]


def plain_serving(
    method: Method, support: Scans, query: Scans, rules: Rules, values: Sequence[int]
) -> Serving:
    """The support as it is, a single slice at a time."""
    tasks = _tasks_of(method, support.each(), support.labels, query, rules, values)
    return Serving(support.slices, np.concatenate(support.labels), tasks)


def posed_serving(
    method: Method,
    support: Scans,
    query: Scans,
    rules: Rules,
    plain: Serving,
    precision: Precision,
) -> Serving:
    """The support in the query's pose, and beside the chosen slices the neighbours that help.

    Where slices are matched by the images alone, they are matched again in that pose.
    """
    served, values = plain, list(plain.tasks)
    masks: Sequence[npt.NDArray[np.uint8]] = support.labels
    if method.pose_search is not None:
        known = pairs_of([task for tasks in plain.tasks.values() for task in tasks])
        scans, masks, start = list[Encoded](), list[npt.NDArray[np.uint8]](), 0
        for case, slices in zip(support.cases, support.each(), strict=True):
            if rules.protocol == "paper":
                pairs = [(s - start, q) for s, q in known if 0 <= s - start < len(case.image)]
            else:
                pairs = matched_pairs(match_slices(method, slices, query.slices))
            brought = bring(method, slices, case.label, values, query.slices, pairs, precision)
            scans.append(brought[0])
            masks.append(brought[1])
            start += len(case.image)
        tasks = plain.tasks
        if rules.protocol == "blind":
            tasks = _tasks_of(method, scans, masks, query, rules, values)
        served = Serving(Encoded.join(scans), np.concatenate(masks), tasks)
    reach = rules.reach(method)
    near = {v: with_neighbours(t, masks, v, reach) for v, t in served.tasks.items()}
    return replace(served, tasks=near)


def _tasks_of(
    method: Method,
    scans: Sequence[Encoded],
    labels: Sequence[npt.NDArray[np.uint8]],
    query: Scans,
    rules: Rules,
    values: Sequence[int],
) -> dict[int, list[SliceTask]]:
    """Which slices of the support scans serve which slices of the query, by the protocol."""
    (target,) = query.cases
    if rules.protocol == "blind":
        matches = [match_slices(method, scan, query.slices) for scan in scans]
        return {v: blind_shot_tasks(matches, labels, v) for v in values}
    if rules.protocol == "ep2":
        return {v: every_slice_tasks(labels, len(target.image), v) for v in values}
    return {v: organ_tasks(labels, target.label, v, rules.chunks, rules.bounds) for v in values}


def serving_slices(tasks: Sequence[SliceTask], count: int) -> npt.NDArray[np.int16]:
    """(Z,) the first support slice that served each query slice, −1 where none did."""
    served = np.full(count, -1, dtype=np.int16)
    for task in tasks:
        served[list(task.query)] = task.support[0]
    return served
