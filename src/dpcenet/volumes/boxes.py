"""Where in an array something lies: boxes and values of labels, found part by part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.system.large_arrays import blocks, give_back, room_for

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]


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


def above(values: npt.NDArray[Any], cut: float) -> Mask:
    """Where an array is above `cut`."""
    found: Mask = room_for(values.shape, bool)
    for part in blocks(values):
        np.greater(values[part], cut, out=found[part])
        give_back(found)
    return found


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
