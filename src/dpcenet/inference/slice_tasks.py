"""Which support slices serve which query slices, where nothing is known of the query's labels.

Protocols that are told the query's organ slices live in `evaluation.protocols`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.line_search import ZLine
from dpcenet.inference.support import LabelledScan, Labels, SupportSlice

Matches = npt.NDArray[np.int64]
"""(Zq,) for each query slice the slice of one support scan that it matches."""


@dataclass(frozen=True)
class SliceTask:
    """Query slices that are segmented with the same support slices."""

    support: tuple[SupportSlice, ...]
    query: tuple[int, ...]


def organ_slices(label: Labels, value: int) -> npt.NDArray[np.int64]:
    """The slices of (Z, H, W) that show a label, in order."""
    return np.flatnonzero((label == value).any(axis=(1, 2)))


def matched_tasks(
    matches: Sequence[Matches], labels: Sequence[Labels], value: int
) -> list[SliceTask]:
    """Every query slice for which at least half of the scans' matched slices show the label.

    Those slices serve it; other query slices stay empty.

    Args:
        matches: for each support scan, the slice of it that each query slice matches.
        labels: (Z, H, W) of each support scan.
        value: the label.
    """
    shown = [set(organ_slices(label, value).tolist()) for label in labels]
    served = [
        np.where(np.isin(matched, list(there)), matched, -1)
        for matched, there in zip(matches, shown, strict=True)
    ]
    return served_tasks(served)


def served_tasks(served: Sequence[Matches]) -> list[SliceTask]:
    """Query slices grouped by the support slices that serve them.

    Args:
        served: for each support scan, the slice of it that serves each query slice; −1 where none
            does. A query slice that fewer than half of the scans serve stays empty.
    """
    groups: dict[tuple[SupportSlice, ...], list[int]] = {}
    for query, chosen in enumerate(zip(*served, strict=True)):
        serving = tuple(SupportSlice(scan, int(z)) for scan, z in enumerate(chosen) if z >= 0)
        if serving and 2 * len(serving) >= len(served):
            groups.setdefault(serving, []).append(query)
    return [SliceTask(support, tuple(query)) for support, query in groups.items()]


def served_slices(
    line: ZLine,
    label: Labels,
    value: int,
    support_mm: float,
    query_slices: int,
    query_mm: float,
    margin: float = 20.0,
) -> npt.NDArray[np.int64]:
    """(Zq,) for each query slice the support slice that serves it for a label; −1 where none does.

    Slices a little beyond the organ's ends are served by its last slices: whether the organ is
    there, the network sees better than the line knows.

    Args:
        line: of the organ.
        label: (Z, H, W) of the support.
        value: the label.
        support_mm, query_mm: distance between slices.
        query_slices: how many there are.
        margin: how far beyond the organ's ends slices are served, in mm of the support.
    """
    shows = organ_slices(label, value)
    served = np.full(query_slices, -1, dtype=np.int64)
    if not len(shows):
        return served
    places = line.in_support((np.arange(query_slices) + 0.5) * query_mm)
    first, last = shows[0] * support_mm - margin, (shows[-1] + 1) * support_mm + margin
    inside = (places >= first) & (places <= last)
    nearest = np.abs(shows[None] - (places[inside, None] / support_mm - 0.5)).argmin(axis=1)
    served[inside] = shows[nearest]
    return served


def slices_along(
    line: ZLine, scan: LabelledScan, value: int, query: EncodedScan, margin: float
) -> npt.NDArray[np.int64]:
    """`served_slices` of a labelled scan for a query."""
    mm = scan.slices.spacing[0], query.spacing[0]
    return served_slices(line, scan.label, value, mm[0], len(query), mm[1], margin)


def with_neighbours(
    tasks: Sequence[SliceTask], labels: Sequence[Labels], value: int, reach: int
) -> list[SliceTask]:
    """The same tasks, with support slices near the chosen ones added; the chosen ones stay first.

    Args:
        tasks: of one label.
        labels: (Z, H, W) of each support scan.
        value: the label, which an added slice must show.
        reach: how many slices away an added slice may lie.
    """
    shown = [set(organ_slices(label, value).tolist()) for label in labels]
    widened = []
    for task in tasks:
        near = [
            SupportSlice(scan, z + step)
            for scan, z in task.support
            for distance in range(1, reach + 1)
            for step in (-distance, distance)
            if z in shown[scan] and z + step in shown[scan]
        ]
        widened.append(SliceTask(tuple(dict.fromkeys((*task.support, *near))), task.query))
    return widened
