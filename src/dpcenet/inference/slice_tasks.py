"""Which support slice serves which query slices.

`organ_tasks` (EP1 of the literature) looks at the query's truth to know which of its slices show
the organ: only `serving`, for `evaluate`, may call it. `every_slice_tasks` (EP2) and `blind_tasks`
know nothing of the query's labels.

A support slice is a number among the slices of all support scans, one scan after the other; with
k shots every task names k slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SliceTask:
    """Query slices that are segmented with the same support slices."""

    support: tuple[int, ...]
    query: tuple[int, ...]


def organ_slices(label: Labels, value: int) -> npt.NDArray[np.int64]:
    """The slices of (Z, H, W) that show a label, in order."""
    return np.flatnonzero((label == value).any(axis=(1, 2)))


def blind_tasks(
    matches: Sequence[int] | npt.NDArray[np.int64],
    support_label: Labels,
    value: int,
) -> list[SliceTask]:
    """Every query slice whose matched support slice shows the label; the others stay empty.

    Args:
        matches: for each query slice the support slice that it matches.
        support_label: (Z, H, W) of the support.
        value: the label.
    """
    return blind_shot_tasks([matches], [support_label], value)


def blind_shot_tasks(
    matches: Sequence[Sequence[int] | npt.NDArray[np.int64]],
    support_labels: Sequence[Labels],
    value: int,
) -> list[SliceTask]:
    """Every query slice for which at least half of the supports' matched slices show the label.

    Those slices serve it.

    Args:
        matches: for each support scan, the slice of it that each query slice matches.
        support_labels: (Z, H, W) of each support scan.
        value: the label.
    """
    shown = [set(organ_slices(label, value).tolist()) for label in support_labels]
    starts = _starts(support_labels)
    groups: dict[tuple[int, ...], list[int]] = {}
    for z, matched in enumerate(zip(*matches, strict=True)):
        sources = zip(starts, matched, shown, strict=True)
        serving = tuple(start + int(m) for start, m, there in sources if int(m) in there)
        if serving and 2 * len(serving) >= len(support_labels):
            groups.setdefault(serving, []).append(z)
    return [SliceTask(support, tuple(query)) for support, query in groups.items()]


def with_neighbours(
    tasks: Sequence[SliceTask], support_labels: Sequence[Labels], value: int, reach: int
) -> list[SliceTask]:
    """The same tasks, in which slices near the support's help: those of its scan that show the
    label and lie at most `reach` away. The chosen slice stays first."""
    shown = {
        start + int(z): number
        for number, (start, label) in enumerate(
            zip(_starts(support_labels), support_labels, strict=True)
        )
        for z in organ_slices(label, value)
    }
    widened = []
    for task in tasks:
        near = [
            z + step
            for z in task.support
            for distance in range(1, reach + 1)
            for step in (-distance, distance)
            if z in shown and shown.get(z + step) == shown[z]
        ]
        widened.append(SliceTask(tuple(dict.fromkeys((*task.support, *near))), task.query))
    return widened


def _starts(support_labels: Sequence[Labels]) -> list[int]:
    """Number of the first slice of each support among the slices of all."""
    lengths = [len(label) for label in support_labels]
    return [0, *accumulate(lengths[:-1])]
