"""Where the body is: margins of air must not make its pixels coarser, nor its contrast another."""

from __future__ import annotations

import math

import numpy as np

from dpcenet.system.large_arrays import Slices, in_slices
from dpcenet.volumes.intensities import sample

Span = tuple[int, int]
"""First voxel along an axis, and the one after the last."""

AIR = 0.05
"""Air is darker than this part of the way from a scan's lowest value to its `BRIGHT` percentile."""
BRIGHT = 99.5


def body_of(data: Slices) -> tuple[Span, Span]:
    """Rows and columns that hold more than air: one voxel of any slice is enough.

    Args:
        data: (Z, Y, X), slices first.

    Returns:
        their spans; the whole of a scan of one value.
    """
    lowest = min(float(plane.min()) for plane in in_slices(data))
    bright = float(np.percentile(sample(data), BRIGHT))
    above = lowest + AIR * (bright - lowest)
    filled = np.zeros(data.shape[1:], dtype=bool)
    for plane in in_slices(data):  # slice by slice: a mask of a whole CT is too much
        filled |= plane > above
    rows, columns = (np.flatnonzero(filled.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return (0, data.shape[1]), (0, data.shape[2])
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def crop_start(span: Span, length: int, step: float, size: int) -> int | None:
    """First resampled voxel of a crop that holds a span, as near to the scan's middle as may be.

    Args:
        span: in voxels of the scan.
        length: of the resampled axis.
        step: voxels of the scan to a resampled one.
        size: of the crop.

    Returns:
        its offset; None where the span is longer than the crop.
    """
    # A pixel shows what lies within half of it.
    first, end = math.ceil(span[0] / step - 0.5), math.floor((span[1] - 1) / step + 0.5) + 1
    if end - first > size:
        return None
    return min(max(length // 2 - size // 2, end - size), first)


def shown(offset: int, size: int, step: float, length: int) -> slice:
    """The voxels of a scan's axis that a crop shows."""
    first, end = math.floor(offset * step), math.ceil((offset + size) * step)
    return slice(max(first, 0), min(end, length))
