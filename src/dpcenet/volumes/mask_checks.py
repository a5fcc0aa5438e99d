"""Whether a mask fits its scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import blocks, give_back, low_and_high, planes, room_for
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, on_grid
from dpcenet.volumes.intensities import WHOLE
from dpcenet.volumes.nifti import forms_apart_mm
from dpcenet.volumes.scan_file import SourceGrid

_TAKE_PLACE = "`dpcenet doctor SCAN --mask MASK --fix OUT` gives the mask the scan's place."


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


def background_doubts(labels: npt.NDArray[Any]) -> tuple[str, ...]:
    """A note where a label (Z, Y, X) lies where the background does: values from 1, or inverted."""
    corners = labels[[0, -1]][:, [0, -1]][:, :, [0, -1]]
    value = corners.flat[0]
    if value == 0 or (corners != value).any():
        return ()
    filled = sum(int(np.count_nonzero(plane == value)) for plane in planes(labels))
    if filled <= labels.size / 2:
        return ()
    return (
        f"label {value:g} fills {filled / labels.size:.0%} of the scan, and its corners: if it is "
        "the background, give it the value 0",
    )


def empty_doubts(
    labels: npt.NDArray[Any], image: npt.NDArray[Any], values: Sequence[int]
) -> tuple[str, ...]:
    """A note for each label that lies where its scan (Z, Y, X) holds nothing but its lowest value.

    A mask that is turned over, or of another scan on the same grid, does so in cut-out scans.
    """
    low, _ = low_and_high(image)
    size = max(values, default=0) + 1
    inside, empty = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for drawn, plane in zip(planes(labels), planes(image), strict=True):
        inside += np.bincount(drawn.ravel(), minlength=size)
        empty += np.bincount(drawn[plane == low].ravel(), minlength=size)
    return tuple(
        f"{empty[value] / inside[value]:.0%} of label {value} lie where the scan has its lowest "
        f"value ({low:g}): is the mask turned over, or of another scan?"
        for value in values
        if empty[value] > inside[value] / 2
    )


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
