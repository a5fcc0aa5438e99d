"""Where each slice of a DICOM series lies, and whether all of them make one regular volume.

A slice is a file, or a frame of an enhanced file. DICOM's millimetres are LPS+; ours are RAS+.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpcenet.volumes.dicom.find_series import bad
from dpcenet.volumes.geometry import (
    GRID_TOLERANCE_MM,
    LPS_TO_RAS,
    SHEAR_TOLERANCE,
    check_affine,
)

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

Vector = npt.NDArray[np.float64]
_ANGLE = 1e-3
"""Cosines of the same direction may differ this much from file to file; headers round."""
_GAP = 0.02
"""Gaps between slices may differ from the usual one by this part of it."""
_PLACE = {  # attribute → the functional group that holds it in an enhanced file, and its numbers
    "ImagePositionPatient": ("PlanePositionSequence", 3),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
    "PixelSpacing": ("PixelMeasuresSequence", 2),
}
_VALUES = "PixelValueTransformationSequence"


@dataclass(frozen=True)
class Slice:
    """One slice by its header.

    Attributes:
        path: its file.
        frame: which frame of the file, from 0.
        uid: SOPInstanceUID of the file.
        shape: rows and columns.
        spacing: mm between rows and between columns.
        row, column: unit vectors (LPS) along a row and along a column.
        position: of the first pixel's centre, LPS mm.
        rescale: slope and intercept; None where the header names neither.
    """

    path: Path
    frame: int
    uid: str
    shape: tuple[int, int]
    spacing: Vector
    row: Vector
    column: Vector
    position: Vector
    rescale: tuple[float, float] | None


def slices_of(header: FileDataset, path: Path) -> list[Slice]:
    """The slice of a file, or the frames of an enhanced one.

    Raises:
        VolumeError: the header does not say, or says nonsense about, where the pixels lie.
    """
    needed = ("SeriesInstanceUID", "SOPInstanceUID", "Rows", "Columns")
    missing = [name for name in needed if name not in header]
    if missing:
        raise bad(path, f"no {', '.join(missing)}", "an image with its place in the patient")
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise bad(path, "the pixels are coloured", "one grey value in each pixel")
    frames = list(header.get("PerFrameFunctionalGroupsSequence", None) or ())
    count = int(header.get("NumberOfFrames", None) or 1)
    if frames and len(frames) != count:
        raise bad(path, f"{count} frames, {len(frames)} of them described", "a place for each")
    if not frames and count > 1:
        raise bad(path, f"several frames ({count}) without a place each", "a place for each")
    shared = list(header.get("SharedFunctionalGroupsSequence", None) or ())
    if not frames:
        return [_slice(header, path, 0, [])]
    return [_slice(header, path, index, [frame, *shared]) for index, frame in enumerate(frames)]


def arrange(slices: Iterable[Slice], folder: Path) -> list[Slice]:
    """Sort slices along their normal.

    Raises:
        VolumeError: they differ in size, spacing or direction; one is missing, there twice, or
            beside the others; or there is only one.
    """
    found = list(slices)
    if len(found) < 2:
        raise bad(folder, f"{len(found)} DICOM slice", "a series of two or more")
    first = found[0]
    for each in found:
        _check_alike(each, first)
    normal = np.cross(first.row, first.column)
    found.sort(key=lambda each: float(normal @ each.position))
    _check_gaps(found, normal, folder)
    _check_line(found, normal, folder)
    check_affine(affine_of(found), folder)
    return found


def affine_of(slices: list[Slice]) -> Vector:
    """Index (z, row, column, 1) of sorted slices to RAS+ mm."""
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    affine[:3, 0] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 1] = first.column * first.spacing[0]
    affine[:3, 2] = first.row * first.spacing[1]
    affine[:3, 3] = first.position
    return np.asarray(LPS_TO_RAS @ affine)


def _slice(header: FileDataset, path: Path, frame: int, groups: list[Dataset]) -> Slice:
    try:
        place = {name: _numbers(header, groups, name) for name in _PLACE}
        rescale = _rescale(header, groups)
    except (ValueError, TypeError, OverflowError) as error:
        raise bad(path, f"the header cannot be read ({error})", "numbers") from error
    if missing := [name for name, numbers in place.items() if numbers is None]:
        raise bad(path, f"no {', '.join(missing)}", "an image with its place in the patient")
    for name, numbers in place.items():
        if numbers is None or len(numbers) != _PLACE[name][1] or not np.isfinite(numbers).all():
            raise bad(path, f"{name} is {numbers}", f"{_PLACE[name][1]} finite numbers")
    if rescale is not None and not (np.isfinite(rescale).all() and rescale[0] != 0):
        raise bad(path, f"slope and intercept are {rescale}", "finite ones, the slope not 0")
    position, cosines, spacing = (np.asarray(numbers, np.float64) for numbers in place.values())
    if spacing.min() <= 0:
        raise bad(path, f"PixelSpacing is {spacing.tolist()}", "millimetres above 0")
    row, column = cosines[:3], cosines[3:]
    if max(abs(np.linalg.norm(axis) - 1) for axis in (row, column)) > _ANGLE:
        raise bad(path, f"ImageOrientationPatient is {cosines.tolist()}", "two unit vectors")
    shape = int(header.Rows), int(header.Columns)
    uid = str(header.SOPInstanceUID)
    return Slice(path, frame, uid, shape, spacing, row, column, position, rescale)


def _numbers(header: FileDataset, groups: list[Dataset], name: str) -> Vector | None:
    value = _value(header, groups, _PLACE[name][0], name)
    return None if value is None else np.atleast_1d(np.array(value, dtype=np.float64))


def _rescale(header: FileDataset, groups: list[Dataset]) -> tuple[float, float] | None:
    slope = _value(header, groups, _VALUES, "RescaleSlope")
    intercept = _value(header, groups, _VALUES, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    return float(1 if slope is None else slope), float(0 if intercept is None else intercept)


def _value(header: FileDataset, groups: list[Dataset], group: str, name: str) -> Any:
    """An attribute of the frame, of all frames, or of the file; None where it is nowhere."""
    for part in groups:
        items = part.get(group, None)
        if items and items[0].get(name, None) is not None:
            return items[0].get(name)
    return header.get(name, None)


def _check_alike(each: Slice, first: Slice) -> None:
    """Refuse a slice of another size, spacing or direction."""
    if each.shape != first.shape or not np.allclose(each.spacing, first.spacing, rtol=1e-3):
        raise bad(each.path, f"another size or spacing than {first.path.name}", "the same")
    turned = np.abs(np.subtract([each.row, each.column], [first.row, first.column])).max()
    if turned > _ANGLE:
        raise bad(each.path, f"another direction than {first.path.name}", "parallel slices")


def _check_gaps(slices: list[Slice], normal: Vector, folder: Path) -> None:
    """Refuse a slice that is missing or there twice."""
    gaps = np.diff([float(normal @ each.position) for each in slices])
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < _GAP * max(usual, float(gaps.max())))
    if len(same):
        one, two = slices[same[0]], slices[same[0] + 1]
        if (one.uid, one.frame) == (two.uid, two.frame):
            found = f"{one.path.name} and {two.path.name} are the same slice"
            raise bad(folder, found, "each slice once", "Remove one of the two files.")
        found = f"{len(same) + 1} or more slices at one place, such as {_two(one, two)}"
        expected = "one volume: no second echo, phase, time point or b-value"
        raise bad(folder, found, expected, "Export each of them as a series of its own.")
    wrong = np.flatnonzero(np.abs(gaps - usual) > _GAP * usual)
    if len(wrong):
        at = int(wrong[0])
        between = _two(slices[at], slices[at + 1])
        found = f"{gaps[at]:.2f} mm between {between}, else {usual:.2f} mm"
        raise bad(folder, found, "one gap between all slices: a slice is missing")


def _check_line(slices: list[Slice], normal: Vector, folder: Path) -> None:
    """Refuse slices that are shifted against each other: one alone, or all by a tilted gantry."""
    positions = np.array([each.position for each in slices])
    along = positions[-1] - positions[0]
    steps = np.linspace(0, 1, len(slices))[:, None]
    beside = positions - positions[0] - steps * along
    beside -= np.outer(beside @ normal, normal)
    off = np.linalg.norm(beside, axis=1)
    worst = int(off.argmax())
    if off[worst] > GRID_TOLERANCE_MM:
        found = f"it lies {off[worst]:.2f} mm beside the line of the other slices"
        raise bad(slices[worst].path, found, "slices one above the other")
    cosine = float(abs(normal @ along) / np.linalg.norm(along))
    sine = float(np.sqrt(max(0.0, 1 - min(cosine, 1.0) ** 2)))
    if sine > SHEAR_TOLERANCE:
        found = f"the slices are sheared by {np.degrees(np.arcsin(sine)):.1f}° (a tilted gantry)"
        remedy = "Convert it with a tool that corrects the tilt, such as dcm2niix, to .nii.gz."
        raise bad(folder, found, "slices at right angles to their stack", remedy)


def _two(one: Slice, two: Slice) -> str:
    if one.path == two.path:
        return f"frames {one.frame + 1} and {two.frame + 1} of {one.path.name}"
    return f"{one.path.name} and {two.path.name}"
