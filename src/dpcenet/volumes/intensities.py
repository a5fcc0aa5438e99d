"""What the intensities of a scan say: whether it is a scan, and which of them hold no measurement.

Scanners and exports fill the rest of an array with values of their own. A filler far below an MR's
own values would otherwise decide whether it is taken for a CT, and its mean and deviation. A filler
that is the scan's own minimum does no harm and is not looked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.errors import NotAScanError, VolumeError
from dpcenet.system.large_arrays import (
    MadeSlices,
    Slices,
    give_back,
    in_slices,
    low_and_high,
    planes,
)
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.geometry import slice_axis
from dpcenet.volumes.size_guards import LOOK_FIRST_BYTES

FEW = 16
"""A file with so few different whole numbers is no scan."""
MASK_VALUES = 64
"""A file named like a mask that holds more different values than this is a scan."""
MANY = 256
"""A map of labels holds at most so many different whole numbers."""
PATCHES = 0.75
"""Least share of neighbours inside a map of labels that have one value."""
WHOLE = 1e-3
"""Labels may lie this far from whole numbers: some programs store 0.99999."""
BLANK = 0.999
"""A large file with one value in this part of its voxels would be copied several times for none."""
MOST, FINEST = 1e30, 2.0**-16
"""Larger intensities leave 32-bit numbers when they are normalised, and differences that are a
smaller part of the intensities get lost in them."""

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


def check_intensities(volume: Volume, path: Path | str) -> None:
    """Refuse an image that has voxels without a value, only one value, or values like labels.

    Raises:
        VolumeError: NaN or infinite voxels, a constant image, or a mask.
    """
    data: npt.NDArray[Any] = volume.data
    found = _without_value(data)
    if found is not None:
        count, (z, y, x) = found
        raise VolumeError(
            path,
            f"{counted(count, 'NaN or infinite voxel')}, the first at z={z}, y={y}, x={x} "
            "(array indices)",
            "a finite number in every voxel",
            "Export the scan again, or let `dpcenet doctor SCAN --fix OUT` replace these voxels.",
        )
    low, high = low_and_high(data)
    most = max(abs(float(low)), abs(float(high)))
    if most > MOST or 0 < float(high) - float(low) < FINEST * most:
        found_ = f"values from {float(low):g} to {float(high):g}"
        expected = f"up to {MOST:g}, and no tiny differences between large values"
        raise VolumeError(path, found_, expected, "Export the scan again; is it damaged?")
    if low == high:
        raise VolumeError(
            path,
            f"every voxel is {data.flat[0]}",
            "an image with contrast",
            "Check that this is the scan.",
        )
    if data.nbytes > LOOK_FIRST_BYTES and (share := _commonest(data)) > BLANK:
        found_ = f"{share:.2%} of the voxels have one value"
        raise VolumeError(path, found_, "an image of a body", "Check that this is the scan.")
    few = high <= np.iinfo(np.uint8).max and holds_labels(data, FEW)
    if few or is_label_map(data):
        raise NotAScanError(
            path,
            f"this looks like a mask: it holds at most {FEW} different whole numbers"
            if few
            else "this looks like a map of labels: whole numbers, each in patches of its own",
            "a scan",
            "Leave it out; for a labelled scan, check that image and mask are not swapped.",
        )


def _commonest(data: npt.NDArray[Any]) -> float:
    """The share of the middle value, in a sample; what is almost one value has it there."""
    values = sample(data)
    return float(np.mean(values == np.median(values)))


def _without_value(data: npt.NDArray[Any]) -> tuple[int, tuple[int, int, int]] | None:
    """How many voxels are NaN or infinite, and the first; None where there is none."""
    if data.dtype.kind != "f":
        return None
    count, first = 0, None
    for z, plane in enumerate(planes(data)):  # a list of all places takes 24 bytes for each
        bad = ~np.isfinite(plane)
        if bad.any():
            count += int(bad.sum())
            first = first or (z, *map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
    return None if first is None else (count, (first[0], first[1], first[2]))


def holds_labels(data: npt.NDArray[Any], most: int = MASK_VALUES) -> bool:
    """Whether an array (Z, ...) holds at most `most` different whole numbers, none below 0.

    Plane by plane: a scan shows more after a few of them.
    """
    seen: set[float] = set()
    for plane in planes(data):
        values = np.unique(plane)
        whole = np.round(values)
        if not np.isfinite(values).all() or np.abs(values - whole).max(initial=0) > WHOLE:
            return False
        if (whole < 0).any():
            return False
        seen.update(whole.tolist())
        if len(seen) > most:
            return False
    return True


def is_label_map(data: npt.NDArray[Any]) -> bool:
    """Whether an array (Z, Y, X) holds the values of many labels, under whatever name.

    Whole numbers, few of them, and nearly every voxel has the value of its neighbour: intensities
    of a scan change from voxel to voxel, even with 8 bits.
    """
    if data.ndim != 3 or not holds_labels(data, MANY):
        return False
    pairs = equal = 0
    for plane in planes(data):
        inside = (plane[:, 1:] > 0) & (plane[:, :-1] > 0)
        pairs += int(inside.sum())
        equal += int((inside & (plane[:, 1:] == plane[:, :-1])).sum())
    return pairs > 0 and equal >= PATCHES * pairs


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


@dataclass(frozen=True)
class ClippedSlices(MadeSlices):
    """Slices of an oriented scan (Z, Y, X).

    Attributes:
        padding: what holds no measurement; `fill` stands in its place.
        bounds: lowest and highest intensity, one pair after the other; None where there is none.
    """

    padding: Padding | None = None
    fill: float = 0.0
    bounds: tuple[tuple[float | None, float | None], ...] = ()

    @classmethod
    def of(cls, data: npt.NDArray[Any], padding: Padding | None, fill: float | None) -> Self:
        """Slices that are not clipped yet; None fills padding with the lowest value beside it."""
        if padding is None:
            return cls(data)
        if fill is None:
            fill = lowest_beside(in_slices(cls(data)), padding)
        return cls(data, padding, fill)

    def clipped(self, low: float | None, high: float | None) -> Self:
        """The same; intensities below `low` and above `high` become these."""
        return replace(self, bounds=(*self.bounds, (low, high)))

    def __getitem__(self, z: int) -> npt.NDArray[np.float32]:
        plane: npt.NDArray[np.float32] = self.base[z].astype(np.float32)
        if self.padding is not None:
            plane[is_padding(plane, self.padding)] = self.fill
        for low, high in self.bounds:
            if low is not None:
                np.maximum(plane, np.float32(low), out=plane)
            if high is not None:
                np.minimum(plane, np.float32(high), out=plane)
        return plane
