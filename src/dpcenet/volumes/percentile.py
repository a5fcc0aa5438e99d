"""A percentile of numbers that come part by part, exactly, without holding all of them.

The bits of a number, read as a whole number and with the order of negative ones turned round, rise
with it. Counting how often each value of the upper 16 bits occurs tells which of them belong to the
number of a given rank; the next 16 bits are then counted among those alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

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
