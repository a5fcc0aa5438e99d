"""Whether intensities can be a scan's, and whether a mask fits its scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import NotAScanError, VolumeError
from dpcenet.system.large_arrays import blocks, give_back, low_and_high, planes, room_for
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, on_grid
from dpcenet.volumes.grid import SourceGrid
from dpcenet.volumes.nifti import forms_apart_mm
from dpcenet.volumes.padding import sample
from dpcenet.volumes.size_guards import LOOK_FIRST_BYTES

_TAKE_PLACE = "`dpcenet doctor SCAN --mask MASK --fix OUT` gives the mask the scan's place."

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
MOST = 1e30
"""Larger intensities leave 32-bit numbers when they are normalised."""


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
    if max(abs(float(low)), abs(float(high))) > MOST:
        found_ = f"values from {float(low):g} to {float(high):g}"
        raise VolumeError(path, found_, f"up to {MOST:g}", "Export the scan again; is it damaged?")
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


def check_mask(
    mask: Volume, image: Volume, path: Path | str, grid: SourceGrid | None = None
) -> npt.NDArray[np.uint8]:
    """Refuse a mask that does not lie on its image, or holds no labels.

    A mask whose array axes are stored in another order is fine if it lies in the same place. Values
    within 0.001 of whole numbers are these.

    Args:
        mask: (Z, Y, X) labels.
        image: the scan's voxels.
        path: of the mask, for the error.
        grid: of the scan; with it the error says if the scan's header contradicts itself.

    Returns:
        (Z, Y, X) uint8 labels in the array order of the image.

    Raises:
        VolumeError: another grid, values that are no labels, or an empty mask.
    """
    data: npt.NDArray[Any] = mask.data
    check_whole(data, path)
    low, high = low_and_high(data)
    if low < -WHOLE:
        raise _bad_labels(path, f"the smallest value is {low}", "Renumber the labels.")
    if high > np.iinfo(np.uint8).max + WHOLE:
        found = f"the largest value is {high}"
        raise _bad_labels(path, found, "Are image and mask swapped? Else renumber the labels.")
    if high <= WHOLE:
        raise _bad_labels(path, "the mask is empty", "Label at least one voxel.")
    try:
        placed: npt.NDArray[Any] = on_grid(mask, image, path).data
    except VolumeError as error:
        reason = "" if grid is None else _why_elsewhere(grid)
        if not reason:
            raise
        found = f"{error.found}; {reason}"
        raise VolumeError(path, found, error.expected, f"{error.remedy} {_TAKE_PLACE}") from error
    return whole_labels(placed)


def check_whole(data: npt.NDArray[Any], path: Path | str) -> None:
    """Refuse labels (Z, Y, X) that are no whole numbers, or no numbers at all.

    Raises:
        VolumeError: the message names the mask.
    """
    if not all(_whole(plane) for plane in planes(data)):
        found = "there are values that are no whole numbers"
        raise _bad_labels(path, found, "Was it resampled? Use nearest neighbours for labels.")


def whole_labels(data: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Labels 0…255 as whole numbers: some programs store 0.99999."""
    if data.dtype == np.uint8:
        return data
    out = room_for(data.shape, np.uint8)
    for part in blocks(data):
        out[part] = np.round(data[part])
        give_back(out)
    return out


def _why_elsewhere(grid: SourceGrid) -> str:
    """What in a scan's own header lets two programs see it in two places; "" for nothing."""
    if grid.format != "nifti":
        return ""
    if not (grid.header["qform_code"] or grid.header["sform_code"]):
        return "the scan's header does not say where the scan lies, so programs guess differently"
    apart = forms_apart_mm(grid)
    if apart > GRID_TOLERANCE_MM:
        return (
            f"sform and qform of the scan's header lie {apart:.1f} mm apart: the program that made "
            "the mask may have used the qform, and the sform is used here"
        )
    return ""


def _whole(plane: npt.NDArray[Any]) -> bool:
    """Whether every value is finite, and a whole number but for rounding."""
    if plane.dtype.kind in "iub":
        return True
    with np.errstate(invalid="ignore"):  # infinity less itself
        return bool((np.abs(plane - np.round(plane)) <= WHOLE).all())


def _bad_labels(path: Path | str, found: str, remedy: str) -> VolumeError:
    return VolumeError(path, found, "whole numbers from 0 (background) to 255, not all 0", remedy)
