"""Which support slice serves which query slices.

`organ_tasks` looks at the query's truth to know which of its slices show the organ: only
`evaluate` may call it. `blind_tasks` knows nothing of the query's labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SliceTask:
    """Query slices that are segmented with the same support slices."""

    support: tuple[int, ...]
    query: tuple[int, ...]


def organ_slices(label: npt.NDArray[np.uint8], value: int) -> npt.NDArray[np.int64]:
    """The slices of (Z, H, W) that show a label, in order."""
    return np.flatnonzero((label == value).any(axis=(1, 2)))


def support_positions(count: int, chunks: int) -> list[int]:
    """Positions among `count` organ slices that serve as support: int(p·count), p = 1/6, 1/2, 5/6
    for three chunks, 1/2 for one."""
    return [int((2 * k + 1) / (2 * chunks) * count) for k in range(chunks)]


def chunk_bounds(count: int, chunks: int) -> list[int]:
    """Bounds of `chunks` runs of `count` slices: int(linspace(0, count, chunks + 1))."""
    return [int(bound) for bound in np.linspace(0, count, chunks + 1)]


def organ_tasks(
    support_label: npt.NDArray[np.uint8],
    query_label: npt.NDArray[np.uint8],
    value: int,
    chunks: int = 3,
) -> list[SliceTask]:
    """EP1: the query's organ slices in `chunks` runs; run k uses support slice k.

    Empty where the organ is missing from the support or from the query.

    Source: SSL-ALPNet and ADNet's evaluation; see docs/protocols.md.
    """
    theirs, ours = organ_slices(support_label, value), organ_slices(query_label, value)
    if not len(theirs) or not len(ours):
        return []
    bounds = chunk_bounds(len(ours), chunks)
    return [
        SliceTask((int(theirs[position]),), tuple(int(z) for z in ours[low:high]))
        for position, low, high in zip(
            support_positions(len(theirs), chunks), bounds[:-1], bounds[1:], strict=True
        )
        if high > low
    ]


def blind_tasks(
    matches: Sequence[int] | npt.NDArray[np.int64],
    support_label: npt.NDArray[np.uint8],
    value: int,
) -> list[SliceTask]:
    """Every query slice whose matched support slice shows the label; the others stay empty.

    Args:
        matches: for each query slice the support slice that it matches.
        support_label: (Z, H, W) of the support.
        value: the label.
    """
    shown = set(organ_slices(support_label, value).tolist())
    groups: dict[int, list[int]] = {}
    for z, match in enumerate(matches):
        if int(match) in shown:
            groups.setdefault(int(match), []).append(z)
    return [SliceTask((support,), tuple(query)) for support, query in groups.items()]
