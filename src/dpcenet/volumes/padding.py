"""Voxels that hold no measurement: what scanners and exports fill the rest of an array with.

A filler far below an MR's own values would otherwise decide whether it is taken for a CT, and its
mean and deviation. A filler that is the scan's own minimum does no harm and is not looked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.system.large_arrays import give_back, low_and_high, planes
from dpcenet.types import Volume
from dpcenet.volumes.geometry import slice_axis
from dpcenet.volumes.made_slices import Slices

FILLERS = (-1000, -1024, -2000, -2048, -3000, -3024, -3071, -4096, -8192, -9999, -32767, -32768)
"""Values that exports write where nothing was measured."""
BORDER = 0.5
"""One value in this part of the slices' outermost rows and columns fills the border."""
BELOW = 0.05
"""So much of a scan must lie below a border's value; resampling undershoots by less."""
COMMON = 1e-3
"""A filler takes at least this part of a scan."""
FAR = 0.1
"""A filler lies below the rest by this part of the rest's range."""
SAMPLE = 1 << 20
"""Voxels that are looked at where a share or a percentile is wanted."""


@dataclass(frozen=True)
class Padding:
    """Values low…high are no measurement.

    Attributes:
        low, high: in the volume's unit.
        border: only where connected to the border: the value occurs in the body as well.
    """

    low: float
    high: float
    border: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


def find_padding(volume: Volume, declared: tuple[float, float] | None = None) -> Padding | None:
    """The values of a scan that hold no measurement; None where there is nothing to leave out.

    Args:
        volume: (Z, Y, X) finite numbers in any array order.
        declared: what its file says (DICOM's PixelPaddingValue, in the volume's unit).
    """
    data: npt.NDArray[Any] = volume.data
    lowest, highest = map(float, low_and_high(data))
    known = lowest in FILLERS or (declared is not None and declared[0] <= lowest <= declared[1])
    found = _declared(data, declared, lowest) or _filler(data, lowest, known)
    if found is None:
        found = _around(volume, lowest)
    if found is None or (found.low <= lowest and found.high >= highest):
        return None
    return found


def is_padding(plane: npt.NDArray[Any], padding: Padding) -> npt.NDArray[np.bool_]:
    """Where a slice (Y, X) holds padding."""
    inside = np.asarray((plane >= padding.low) & (plane <= padding.high))
    if not padding.border or not inside.any():
        return inside
    parts, _ = ndimage.label(inside)
    touching = np.unique(_edge(parts))
    return np.isin(parts, touching[touching > 0])


def lowest_beside(slices: Iterable[npt.NDArray[Any]], padding: Padding) -> float:
    """The lowest value of slices (Y, X) that is no padding; the padding's own where all is."""
    rest = (plane[~is_padding(plane, padding)] for plane in slices)
    return min((float(values.min()) for values in rest if values.size), default=padding.low)


def sample(data: Slices, most: int = SAMPLE) -> npt.NDArray[np.float32]:
    """About `most` voxels of an array, evenly spread, as (N,) float32."""
    step = max(1, round((math.prod(data.shape) / most) ** (1 / 3)))
    few = [data[z][::step, ::step].astype(np.float32) for z in range(0, len(data), step)]
    give_back(data)
    return np.stack(few).ravel()


def _declared(
    data: npt.NDArray[Any], declared: tuple[float, float] | None, lowest: float
) -> Padding | None:
    if declared is None or declared[0] <= lowest <= declared[1]:
        return None  # the lowest value is judged by its distance from the rest
    low, high = declared
    occurs = any(((plane >= low) & (plane <= high)).any() for plane in planes(data))
    return Padding(low, high) if occurs else None


def _filler(data: npt.NDArray[Any], lowest: float, known: bool) -> Padding | None:
    """A common lowest value below 0, far below the rest; with it, what resampling blurred."""
    values = sample(data)
    rest = values[values > lowest]
    if lowest >= 0 or not rest.size or rest.size > (1 - COMMON) * values.size:
        return None
    low, high = np.percentile(rest, (2, 99)).tolist()
    floor = low - FAR * (high - low)
    if lowest >= floor or not (known or low - lowest >= (high - low) / 2):
        return None
    return Padding(lowest, floor)


def _around(volume: Volume, lowest: float) -> Padding | None:
    """One value all around the slices that is not the lowest one."""
    data = np.moveaxis(volume.data, slice_axis(volume), 0)
    edges = np.concatenate([_edge(plane) for plane in planes(data)])
    values, counts = np.unique(edges, return_counts=True)
    value = float(values[counts.argmax()])
    if value <= lowest or counts.max() < BORDER * edges.size or not min(data.shape[1:]) > 2:
        return None
    rest = sample(volume.data)
    rest = rest[rest != value]
    if not rest.size or np.mean(rest < value) < BELOW:
        return None
    return Padding(value, value, border=True)


def _edge(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost rows and columns of a slice."""
    return np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])
