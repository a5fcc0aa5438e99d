"""Sheared or unevenly spaced slices on a regular grid, by linear interpolation.

A tilted gantry shifts each slice against the one before; a protocol may change the gap. Masks made
on the regular grid lie right in the patient; they no longer have a slice of the series each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.slice_header import Slice, Vector
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, LPS_TO_RAS
from dpcenet.volumes.size_guards import MAX_BYTES

_GAP = 0.02
"""Gaps that differ by a smaller part are even."""


def on_regular_grid(data: npt.NDArray[Any], slices: list[Slice]) -> tuple[Volume, tuple[str, ...]]:
    """The volume at right angles and even distances.

    Args:
        data: (Z, Y, X) intensities.
        slices: of each plane, sorted along their normal.

    Returns:
        float32 (Z', Y', X') that holds all of the slices, the lowest intensity where none was; and
        what was done, a line each: none, and the data untouched, where the slices are regular.
    """
    first = slices[0]
    normal = np.cross(first.row, first.column)
    apart = np.array([each.position - first.position for each in slices])
    along = apart @ normal
    shift = np.c_[apart @ first.column, apart @ first.row] / first.spacing  # in pixels
    if np.linalg.norm(shift * first.spacing, axis=1).max() <= GRID_TOLERANCE_MM:
        shift[:] = 0  # rounded
    gaps = np.diff(along)
    notes = _notes(gaps, shift * first.spacing, along)
    step = float(gaps.min()) if len(gaps) else 1.0
    if not notes:
        return Volume(data, _affine(first, normal, step, np.zeros(2))), ()
    low, high = shift.min(axis=0), shift.max(axis=0)
    low, high = np.floor(low), np.ceil(high)
    planes = int(np.floor(along[-1] / step + 1e-6)) + 1
    rows, columns = (np.array(data.shape[1:]) + (high - low).astype(int)).tolist()
    if planes * rows * columns * 4 > MAX_BYTES:
        found = f"{planes} × {rows} × {columns} voxels after resampling"
        raise VolumeError(first.path.parent, found, f"at most {MAX_BYTES:,} bytes", "Crop it.")
    out = np.empty((planes, rows, columns), np.float32)
    fill = float(data.min())
    for z in range(planes):
        out[z] = _plane(data, along, shift - low, z * step, (rows, columns), fill)
    return Volume(out, _affine(first, normal, step, low)), notes


def _plane(
    data: npt.NDArray[Any],
    along: Vector,
    shift: Vector,
    at: float,
    shape: tuple[int, int],
    fill: float,
) -> npt.NDArray[np.float32]:
    """The slice at `at` mm: between its two neighbours, each moved to where it lies."""
    above = int(np.clip(np.searchsorted(along, at), 1, len(along) - 1))
    weight = float(np.clip((at - along[above - 1]) / (along[above] - along[above - 1]), 0, 1))
    parts = []
    for index in (above - 1, above):
        moved = ndimage.affine_transform(
            data[index].astype(np.float32), np.ones(2), -shift[index], shape, order=1, cval=fill
        )
        parts.append(np.asarray(moved, np.float32))
    return np.asarray((1 - weight) * parts[0] + weight * parts[1], np.float32)


def _notes(gaps: Vector, shift_mm: Vector, along: Vector) -> tuple[str, ...]:
    notes = []
    if len(gaps) and np.abs(gaps - np.median(gaps)).max() > _GAP * np.median(gaps):
        between = f"gaps of {gaps.min():.4g} to {gaps.max():.4g} mm"
        notes.append(f"{between} resampled to {gaps.min():.4g} mm")
    moved = float(np.linalg.norm(shift_mm, axis=1).max())
    if moved > GRID_TOLERANCE_MM:
        degrees = float(np.degrees(np.arctan2(moved, along[-1])))
        notes.append(f"slices sheared by {degrees:.1f}° resampled to right angles")
    return tuple(notes)


def _affine(first: Slice, normal: Vector, step: float, low: Vector) -> Vector:
    """Index (z, row, column, 1) to RAS+ mm; `low` is the first row and column in pixels."""
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = first.column * first.spacing[0]
    affine[:3, 2] = first.row * first.spacing[1]
    affine[:3, 3] = first.position + affine[:3, 1:3] @ low
    return np.asarray(LPS_TO_RAS @ affine)
