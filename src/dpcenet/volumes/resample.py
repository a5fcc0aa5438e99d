"""Interpolation on grids whose axes are parallel to the data's, and centred crops.

A position is an index, not an edge: position 2.5 lies midway between the centres of voxels 2 and
3. Data are taken to reach half a voxel beyond their outermost centres.

Source: the resampling of the CHAOS notebook of SSL-ALPNet (Ouyang et al., ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import Slices, Where, blocks, changed, give_back, room_for
from dpcenet.volumes.boxes_and_values import label_boxes

Positions = Sequence[npt.NDArray[np.float64]]
Scalar = TypeVar("Scalar", bound=np.generic)

INSIDE = 0.5 - 1e-9
"""Reach of the data beyond the outermost centre, in voxels: the border itself is outside."""

ON_BORDER = 0.5 + 1e-6
"""The same, with the border inside."""


def resampled_length(length: int, step: float) -> int:
    """Voxels along an axis after resampling at every `step` voxels; the lineage's rule."""
    return length if step == 1 else int(length / step + 1)


def linear(
    data: Slices,
    at: Positions,
    fill: float = 0.0,
    reach: float = INSIDE,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Trilinear interpolation.

    Args:
        data: (Z, Y, X).
        at: positions along z, y and x, in voxels of `data`.
        fill: value outside the data.
        reach: how far in voxels the outermost values hold beyond their centres.
        out: (len(z), len(y), len(x)), what is filled; None makes an array.

    Returns:
        (len(z), len(y), len(x)) float32; where a position is a whole number, the voxel itself.
    """
    z, y, x = at
    out = room_for((len(z), len(y), len(x)), np.float32) if out is None else out
    inside = [_inside(p, n, reach) for p, n in zip(at, data.shape, strict=True)]
    in_plane = np.ix_(inside[1], inside[2])
    rows, columns = y[inside[1]], x[inside[2]]
    for part in blocks(out):  # slice by slice: float64 of a whole CT is too much
        for k in range(part.start, part.stop):
            out[k] = fill
            if inside[0][k]:
                plane = _slice_at(data, z[k])
                out[k][in_plane] = _along(_along(plane, rows, 0), columns, 1)
        give_back(data)
    return out


def linear_labels(labels: npt.NDArray[np.uint8], at: Positions) -> npt.NDArray[np.uint8]:
    """Resample labels 0…255: each against the rest, linearly; it is where it exceeds one half.

    At most one label exceeds one half, so no order among labels matters.
    """
    out = room_for([len(p) for p in at], np.uint8)
    for label, box in label_boxes(labels).items():
        # Further than a voxel from its box a label is nowhere.
        near = tuple(near_box(at, box))
        places = [p[part] for p, part in zip(at, near, strict=True)]
        out[near][linear(Where(labels, label), places) > 0.5] = label
        give_back(out)
    return out


def near_box(at: Positions, box: Sequence[slice]) -> list[slice]:
    """Which rising positions along each axis lie less than a voxel from a box of the data."""
    bounds = [(side.start - 1, side.stop) for side in box]
    return [
        slice(int(np.searchsorted(p, low, "right")), int(np.searchsorted(p, high, "left")))
        for p, (low, high) in zip(at, bounds, strict=True)
    ]


def crop_or_pad(
    data: npt.NDArray[Scalar], offset: Sequence[int], shape: Sequence[int], fill: float
) -> npt.NDArray[Scalar]:
    """A window of `shape` that starts at index `offset`, which may be negative; `fill` outside."""
    out = room_for(shape, data.dtype)
    source, target = overlap(offset, shape, data.shape)
    for part in blocks(out):
        out[part] = fill
    changed(data[source], out.dtype, out[target])
    return out


def overlap(
    offset: Sequence[int], shape: Sequence[int], lengths: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What a window of `shape` at index `offset` shows of data of these lengths: where that lies in
    the data, and in the window."""
    source, target = [], []
    for start, size, length in zip(offset, shape, lengths, strict=True):
        first, last = max(start, 0), min(start + size, length)
        source.append(slice(first, max(first, last)))
        target.append(slice(first - start, max(first, last) - start))
    return tuple(source), tuple(target)


def _inside(positions: npt.NDArray[np.float64], length: int, reach: float) -> npt.NDArray[np.bool_]:
    return (positions >= -reach) & (positions <= length - 1 + reach)


def _slice_at(data: Slices, position: float) -> npt.NDArray[Any]:
    """A slice between two of the data's, in float64; one of them as it is at a whole number."""
    held = min(max(float(position), 0.0), float(len(data) - 1))
    low = int(held)
    if held == low:
        return data[low]
    below = data[low].astype(np.float64)
    return np.asarray(below + (data[low + 1].astype(np.float64) - below) * (held - low))


def _along(
    data: npt.NDArray[Any], positions: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    """Linear interpolation in float64 along one axis; constant beyond the outermost centres."""
    last = data.shape[axis] - 1
    held = np.clip(positions, 0, last)
    low = np.floor(held).astype(np.intp)
    if np.array_equal(held, low):
        return data.take(low, axis).astype(np.float64)
    weight = (held - low).reshape([-1 if a == axis else 1 for a in range(data.ndim)])
    below = data.take(low, axis).astype(np.float64)
    above = data.take(np.minimum(low + 1, last), axis).astype(np.float64)
    return np.asarray(below + (above - below) * weight)
