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
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

Bounds = Literal["number", "range"]
"""How organ slices are cut into chunks: evenly by their number (ADNet's lineage), or evenly by
their place between the first and the last (SSL-ALPNet's)."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SliceTask:
    """Query slices that are segmented with the same support slices."""

    support: tuple[int, ...]
    query: tuple[int, ...]


def organ_slices(label: Labels, value: int) -> npt.NDArray[np.int64]:
    """The slices of (Z, H, W) that show a label, in order."""
    return np.flatnonzero((label == value).any(axis=(1, 2)))


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


def _starts(support_labels: Sequence[Labels]) -> list[int]:
    """Number of the first slice of each support among the slices of all."""
    lengths = [len(label) for label in support_labels]
    return [0, *accumulate(lengths[:-1])]
