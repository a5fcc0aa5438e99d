"""Where each slice of a DICOM series lies, and whether all of them make one regular volume.

A slice is a file, or a frame of an enhanced file. DICOM's millimetres are LPS+; ours are RAS+.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dpcenet.system.words import counted
from dpcenet.volumes.dicom.headers import bad
from dpcenet.volumes.dicom.slice_header import ANGLE, Slice, Vector
from dpcenet.volumes.geometry import (
    GRID_TOLERANCE_MM,
    LPS_TO_RAS,
    SHEAR_TOLERANCE,
    check_affine,
)

_GAP = 0.02
"""Gaps between slices may differ from the usual one by this part of it."""
_ROUNDED_MM = 0.1 + 1e-6
"""Or each slice may lie this far from its place, where a header rounds positions to 0.1 mm."""
_MISSING = 1.5
"""A gap this many times the usual one lacks a slice."""


def arrange(slices: Iterable[Slice], folder: Path, resample: bool = False) -> list[Slice]:
    """Sort slices along their normal.

    Args:
        slices: of one volume.
        folder: for the errors.
        resample: whether they will be resampled, so that they may be sheared or uneven.

    Raises:
        VolumeError: they differ in size, spacing or direction; one is missing, there twice, or
            beside the others; or there is only one.
    """
    found = list(slices)
    if len(found) < 2 and not (found and found[0].thickness):
        remedy = "Export the whole series; one slice alone needs its SliceThickness."
        raise bad(folder, counted(len(found), "DICOM slice"), "a series of two or more", remedy)
    first = found[0]
    for each in found:
        _check_alike(each, first)
    normal = np.cross(first.row, first.column)
    found.sort(key=lambda each: float(normal @ each.position))
    _check_places(found, normal, folder)
    if not resample and len(found) > 1:
        _check_gaps(found, normal, folder)
        _check_line(found, normal, folder)
    if not resample:
        check_affine(affine_of(found), folder)
    return found


def affine_of(slices: list[Slice]) -> Vector:
    """Index (z, row, column, 1) of sorted slices to RAS+ mm."""
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = _step(slices)
    affine[:3, 1] = first.column * first.spacing[0]
    affine[:3, 2] = first.row * first.spacing[1]
    affine[:3, 3] = first.position
    return np.asarray(LPS_TO_RAS @ affine)


def _check_alike(each: Slice, first: Slice) -> None:
    """Refuse a slice of another patient, size, spacing or direction, or of the other grey."""
    for what, value in each.origin.items():
        if first.origin.get(what, value) != value:
            found = f"another {what} than {first.path.name}, in one series"
            raise bad(each.path, found, "a series of its own for each")
    if each.shape != first.shape or not np.allclose(each.spacing, first.spacing, rtol=1e-3):
        raise bad(each.path, f"another size or spacing than {first.path.name}", "the same")
    turned = np.abs(np.subtract([each.row, each.column], [first.row, first.column])).max()
    if turned > ANGLE:
        raise bad(each.path, f"another direction than {first.path.name}", "parallel slices")
    if each.stored.photometric != first.stored.photometric:
        found = f"{each.stored.photometric or 'no kind of grey'}"
        raise bad(each.path, found, f"{first.stored.photometric} as in {first.path.name}")


def _step(slices: list[Slice]) -> Vector:
    """From one slice to the next, LPS mm."""
    first, last = slices[0], slices[-1]
    normal = np.cross(first.row, first.column)
    if len(slices) == 1:
        return np.asarray(normal * first.thickness)
    step = (last.position - first.position) / (len(slices) - 1)
    along = normal * float(normal @ step)
    beside = float(np.linalg.norm(step - along))
    # Rounded positions of a short stack look sheared; the slices' own direction is exact.
    rounded = beside * (len(slices) - 1) <= GRID_TOLERANCE_MM
    return along if rounded and beside > SHEAR_TOLERANCE * np.linalg.norm(step) else step


def _check_places(slices: list[Slice], normal: Vector, folder: Path) -> None:
    """Refuse two slices at one place."""
    gaps = np.diff([float(normal @ each.position) for each in slices])
    if not gaps.size:
        return
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < _GAP * max(usual, float(gaps.max())))
    if len(same):
        one, two = slices[same[0]], slices[same[0] + 1]
        if (one.uid, one.frame) == (two.uid, two.frame):
            found = f"{one.path.name} and {two.path.name} are the same slice with other pixels"
            raise bad(folder, found, "each slice once", "Remove one of the two files.")
        found = f"{len(same) + 1} or more slices at one place, such as {_two(one, two)}"
        expected = "one volume: no second echo, phase, time point or b-value"
        raise bad(folder, found, expected, "Export each of them as a series of its own.")


def _check_gaps(slices: list[Slice], normal: Vector, folder: Path) -> None:
    """Refuse a slice that is missing; positions that are rounded to 0.1 mm are none."""
    along = np.array([float(normal @ each.position) for each in slices])
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    wrong = np.flatnonzero(np.abs(gaps - usual) > _GAP * usual)
    if not len(wrong):
        return
    even = np.linspace(along[0], along[-1], len(along))
    step = (along[-1] - along[0]) / (len(along) - 1)
    rounded = np.abs(along - even).max() <= _ROUNDED_MM and gaps.max() < _MISSING * step
    if not rounded:
        at = int(np.abs(gaps - usual).argmax())
        between = _two(slices[at], slices[at + 1])
        found = f"{gaps[at]:.2f} mm between {between}, else {usual:.2f} mm"
        remedy = "Export the series again; if the gaps are meant, resample it with --resample."
        raise bad(folder, found, "one gap between all slices: a slice is missing", remedy)


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
    if sine > SHEAR_TOLERANCE and sine * float(np.linalg.norm(along)) > GRID_TOLERANCE_MM:
        found = f"the slices are sheared by {np.degrees(np.arcsin(sine)):.1f}° (a tilted gantry)"
        remedy = "Resample it with --resample, or convert it with dcm2niix to .nii.gz."
        raise bad(folder, found, "slices at right angles to their stack", remedy)


def _two(one: Slice, two: Slice) -> str:
    if one.path == two.path:
        return f"frames {one.frame + 1} and {two.frame + 1} of {one.path.name}"
    return f"{one.path.name} and {two.path.name}"
