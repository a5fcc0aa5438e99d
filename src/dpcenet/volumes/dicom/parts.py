"""Several volumes in one DICOM series: echoes, phases, time points; and slices that came twice."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np

from dpcenet.volumes.dicom.headers import parsing, read_whole
from dpcenet.volumes.dicom.slice_header import Slice

SAME_MM = 0.01
"""Slices this close along their normal lie at one place."""
_TELLING = ("echo", "echo number", "b-value", "time point", "phase")
"""Slices that differ in one of these are two, whatever their pixels."""
_PAIRED = 2
"""Attributes that may tell volumes apart only together, such as echo and phase."""


def without_twins(slices: list[Slice]) -> tuple[list[Slice], int]:
    """The slices, each once, where a series was sent twice.

    Two files are one slice if they lie at one place in one direction, hold the same pixels, byte
    for byte, and are of the same echo, b-value, time point and phase.

    Args:
        slices: of one series, in the order of their files.

    Returns:
        those that are kept, in their order, and how many files are left aside.
    """
    kept: list[Slice] = []
    for group in _places(slices):
        seen: list[tuple[bytes, dict[str, str], list[float]]] = []
        for each in group:
            if len(group) == 1 or each.frame > 0:
                kept.append(each)
                continue
            marks = {mark: text for mark, text in each.marks if mark in _TELLING}
            direction = np.round([*each.row, *each.column], 3).tolist()
            content = (_pixels(each.path), marks, direction)
            if content not in seen or not content[0]:
                seen.append(content)
                kept.append(each)
    order = {id(each): number for number, each in enumerate(slices)}
    return sorted(kept, key=lambda each: order[id(each)]), len(slices) - len(kept)


def split(slices: list[Slice]) -> dict[str, list[Slice]]:
    """The volumes of one series by what tells them apart.

    Args:
        slices: of the series.

    Returns:
        name → slices, in the order of the names' values; one entry named "" where no two slices
        lie at one place, or where nothing in the headers tells them apart.
    """
    places = _places(slices)
    if max(map(len, places)) == 1:
        return {"": slices}
    marks = list(dict.fromkeys(mark for each in slices for mark, _ in each.marks))
    for count in range(1, _PAIRED + 1):
        for chosen in itertools.combinations(marks, count):
            parts = _by_marks(slices, chosen)
            if len(parts) > 1 and all(_is_volume(part, len(places)) for part in parts.values()):
                return parts
    return {"": slices}


def _by_marks(slices: list[Slice], chosen: tuple[str, ...]) -> dict[str, list[Slice]]:
    parts: defaultdict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for each in slices:
        marks = dict(each.marks)
        parts[tuple(marks.get(mark, "") for mark in chosen)].append(each)
    ordered = sorted(parts, key=lambda values: [_sortable(value) for value in values])
    return {
        ", ".join(
            f"{mark} {value}".strip() for mark, value in zip(chosen, values, strict=True)
        ): parts[values]
        for values in ordered
    }


def _sortable(value: str) -> tuple[float, str]:
    """Numbers by their size, words after them by their letters."""
    try:
        return float(value.split()[0]), value
    except (ValueError, IndexError):
        return float("inf"), value


def _is_volume(slices: list[Slice], places: int) -> bool:
    """Whether slices lie one above the other, at most of the places that the series has."""
    once = all(len(group) == 1 for group in _places(slices))
    return once and len(slices) >= max(2, places // 2)


def _places(slices: list[Slice]) -> list[list[Slice]]:
    """Slices grouped by where they lie; those of other directions apart."""
    normal = np.cross(slices[0].row, slices[0].column)
    along = np.array([float(normal @ each.position) for each in slices])
    groups: list[list[Slice]] = []
    last = -np.inf
    for at in np.argsort(along, kind="stable").tolist():
        if groups and along[at] - last <= SAME_MM:
            groups[-1].append(slices[at])
        else:
            groups.append([slices[at]])
        last = along[at]
    return groups


def _pixels(path: Path) -> bytes:
    """sha256 of a file's stored pixels; empty where it has none."""
    import hashlib

    with parsing(path):
        stored = read_whole(path).get("PixelData", b"")
        return hashlib.sha256(stored).digest() if stored else b""
