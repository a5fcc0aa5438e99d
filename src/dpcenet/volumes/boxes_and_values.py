"""What an array holds and where, found part by part: boxes, what is near, values, percentiles.

A percentile is exact, though not all numbers are held. The bits of a number, read as a whole number
and with the order of negative ones turned round, rise with it. Counting how often each value of the
upper 16 bits occurs tells which of them belong to the number of a given rank; the next 16 bits are
then counted among those alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.system.large_arrays import blocks, give_back, room_for

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]
TOGETHER = 32  # slices of which distances are counted at once


def box_of(mask: Mask) -> Box:
    """The smallest box of (Z, Y, X) that holds a mask which is not empty."""
    box = box_above(mask, 0)
    assert box is not None
    return box


def box_above(values: npt.NDArray[Any], cut: float) -> Box | None:
    """The smallest box of (Z, Y, X) that holds every value above `cut`; None where none is."""
    along = [np.zeros(length, dtype=bool) for length in values.shape]
    for part in blocks(values):
        shown: Mask = np.greater(values[part], cut)
        flat = np.asarray(shown.any(axis=0))
        along[0][part] = shown.any(axis=(1, 2))
        along[1] |= flat.any(axis=1)
        along[2] |= flat.any(axis=0)
    if not along[0].any():
        return None
    z, y, x = (slice(*_ends(np.flatnonzero(each))) for each in along)
    return z, y, x


def above(values: npt.NDArray[Any], cut: float, among: int = 1) -> Mask:
    """Where an array is above `cut`; `among` as in `room_for`."""
    found: Mask = room_for(values.shape, bool, among)
    for part in blocks(values):
        np.greater(values[part], cut, out=found[part])
        give_back(found)
    return found


def within_mm(mask: Mask, spacing: tuple[float, float, float], mm: float) -> Mask:
    """Voxels (Z, H, W) at most `mm` from a mask, exactly; some slices at a time, as what is counted
    takes memory."""
    near, reach = np.zeros_like(mask), math.floor(mm / spacing[0])
    for first in range(0, len(mask), TOGETHER):
        low = max(0, first - reach)
        part = mask[low : first + TOGETHER + reach]
        if part.any():
            whole = _all_within_mm(part, spacing, mm)
            near[first : first + TOGETHER] = whole[first - low :][:TOGETHER]
    return near


def _all_within_mm(mask: Mask, spacing: tuple[float, float, float], mm: float) -> Mask:
    """The same of all slices at once, in an eighth of the time of a distance transform.

    Along each row the distance is counted in voxels: what is within `mm` of a row that lies some
    slices and rows away, is within so many voxels less along it.
    """
    near = np.zeros_like(mask)
    slices, rows, columns = (
        min(math.floor(mm / step), side - 1) for step, side in zip(spacing, mask.shape, strict=True)
    )
    along = _along_rows(mask, columns)
    for dz, dy in product(range(-slices, slices + 1), range(-rows, rows + 1)):
        left = mm**2 - (dz * spacing[0]) ** 2 - (dy * spacing[1]) ** 2
        if left >= 0:
            most = min(math.floor(math.sqrt(left) / spacing[2] + 1e-9), columns)
            near[_from(dz), _from(dy)] |= along[_from(-dz), _from(-dy)] <= most
    return near


def _from(step: int) -> slice:
    """The places that are left if all move by `step`; those they come from with `-step`."""
    return slice(step, None) if step >= 0 else slice(None, step)


def _along_rows(mask: Mask, most: int) -> npt.NDArray[np.uint16]:
    """Voxels (Z, H, W) from each voxel to the mask in its row, `most` + 1 where it is farther."""
    far = np.where(mask, np.uint16(0), np.uint16(most + 1))
    columns = range(far.shape[2])
    for there, here in (*pairwise(columns), *pairwise(reversed(columns))):
        np.minimum(far[..., here], far[..., there] + 1, out=far[..., here])
    return far


def centre_of(mask: Mask) -> npt.NDArray[np.float64]:
    """Mean index (3,) of the voxels of a mask that is not empty; whole numbers add up exactly."""
    flat = mask.sum(axis=0)
    along = [mask.sum(axis=(1, 2)), flat.sum(axis=1), flat.sum(axis=0)]
    return np.array([each @ np.arange(len(each)) / each.sum() for each in along])


def label_boxes(labels: npt.NDArray[np.integer]) -> dict[int, Box]:
    """The smallest box of each label of a map (Z, Y, X), in the order of the values."""
    found: dict[int, Box] = {}
    for part in blocks(labels):
        for value, box in enumerate(ndimage.find_objects(labels[part]), start=1):
            if box is not None:
                z, y, x = box
                here = slice(z.start + part.start, z.stop + part.start), y, x
                found[value] = _joined(found[value], here) if value in found else here
    return {value: found[value] for value in sorted(found)}


def values_in(labels: npt.NDArray[Any]) -> list[float]:
    """The different values of an array, in order."""
    seen: set[float] = set()
    for part in blocks(labels):
        seen.update(np.unique(labels[part]).tolist())
    return sorted(seen)


def _joined(one: Box, other: Box) -> Box:
    z, y, x = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return z, y, x


def _ends(index: npt.NDArray[np.intp]) -> tuple[int, int]:
    return int(index[0]), int(index[-1]) + 1


Parts = Callable[[], Iterable[npt.NDArray[Any]]]
"""Gives the same arrays, all of one type, each time it is called."""

_DIGIT = 16


def percentile(parts: Parts, q: float) -> float:
    """The q-th percentile (0…100), linear between the two nearest numbers, as `np.percentile`; of
    floating numbers in their own type.

    Args:
        parts: finite numbers of at most 64 bits.
        q: which one.
    """
    kind = next(iter(parts())).dtype
    count = sum(part.size for part in parts())
    place = (count - 1) * (q / 100)
    low = int(np.floor(place))
    below = ranked(parts, low)
    above = ranked(parts, min(low + 1, count - 1)) if place > low else below
    share = place - low
    step = above - below  # as numpy: from the nearer of the two
    between = below + step * share if share < 0.5 else above - step * (1 - share)
    return float(kind.type(between)) if kind.kind == "f" else between


def ranked(parts: Parts, rank: int) -> float:
    """The number before which `rank` numbers stand in rising order."""
    kind = next(iter(parts())).dtype
    bits = kind.itemsize * 8
    digit = min(_DIGIT, bits)
    known, left = 0, rank
    for shift in range(bits - digit, -1, -digit):
        counts = np.zeros(1 << digit, dtype=np.int64)
        for part in parts():
            keys = _keys(part)
            if shift + digit < bits:
                keys = keys[keys >> (shift + digit) == known]
            lowest = (keys >> shift) & ((1 << digit) - 1)
            counts += np.bincount(lowest.astype(np.intp), minlength=len(counts))
        through = np.cumsum(counts)
        here = int(np.searchsorted(through, left, side="right"))
        left -= int(through[here] - counts[here])
        known = (known << digit) | here
    return _number(known, kind)


def _keys(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whole numbers, 0 or more, that rise with the numbers of an array (N,)."""
    flat = np.ascontiguousarray(part).ravel()
    bits = flat.view(f"u{flat.itemsize}")
    top = bits.dtype.type(1 << (8 * flat.itemsize - 1))
    if flat.dtype.kind == "u" or flat.dtype.kind == "b":
        return bits
    if flat.dtype.kind == "i":
        return np.asarray(bits ^ top)
    return np.where(bits & top, ~bits, bits | top)


def _number(key: int, kind: np.dtype[Any]) -> float:
    """The number that a key stands for."""
    top = 1 << (8 * kind.itemsize - 1)
    if kind.kind == "i":
        key ^= top
    elif kind.kind == "f":
        key = key ^ top if key & top else ~key & (2 * top - 1)
    return float(np.array([key], dtype=f"u{kind.itemsize}").view(kind)[0])
