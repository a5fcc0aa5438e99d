"""Where a volume lies in the patient: slice axis, orientation, and checks of an affine.

Directions are RAS+: the first coordinate grows to the patient's right, the second to the front
(anterior), the third to the head (superior).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.types import Volume

Affine = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

THICK = 1.5
"""A spacing this many times the median of the other two marks the slice axis."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two axes that still counts as a right angle (0.06 degrees)."""

GRID_TOLERANCE_MM = 0.1
"""A mask may lie this far from its image; headers round."""

FAR_MM = 1e6
"""No scanner places a voxel farther from its origin; out there rounding loses millimetres."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's and ITK's millimetres to ours, and back."""

# Columns: where slices, rows and columns go. Each frame is right-handed when read as (x, y, z).
_RIGHT, _FRONT, _HEAD = np.eye(3)
_FRAMES = (
    np.stack([_RIGHT, -_HEAD, -_FRONT], axis=1),  # sagittal
    np.stack([-_FRONT, -_HEAD, -_RIGHT], axis=1),  # coronal
    np.stack([_HEAD, -_FRONT, -_RIGHT], axis=1),  # axial
)

# A tiny rotation decides ties at 45 degrees alike, however the array is stored.
_TILT = np.eye(3) + 1e-4 * np.array([[0.0, -3.0, 2.0], [3.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Orientation:
    """A reordering of array axes: transpose by `permutation`, then reverse where `flips`.

    Attributes:
        permutation: for each new axis, the old axis that it was.
        flips: for each new axis, whether it runs against the old one.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)

    def apply(self, volume: Volume) -> Volume:
        """The same volume with its axes reordered; the data are a view."""
        data = self.turn(volume.data)
        affine = volume.affine[:, [*self.permutation, 3]].copy()
        for axis in self._flipped:
            affine[:, 3] += (data.shape[axis] - 1) * affine[:, axis]
            affine[:, axis] *= -1
        return Volume(data, affine)

    def turn(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Bring an array from the old axes to the new ones; a view."""
        return np.flip(array.transpose(self.permutation), self._flipped)

    def invert(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Bring an array from the new axes back to the old ones; a view."""
        return np.flip(array, self._flipped).transpose(np.argsort(self.permutation))


def orient(volume: Volume, like: Affine | None = None) -> tuple[Volume, Orientation]:
    """Reorder and flip the axes of a volume so that axis 0 runs through the slices.

    Without `like`, an axial volume runs from feet to head, its rows to the back and its columns
    to the patient's left, which is the radiological display; sagittal and coronal ones run
    likewise in their own display. The result does not depend on how the array was stored.

    Args:
        volume: any array order.
        like: (4, 4) affine of an oriented volume; its axes are matched instead. A volume with
            thick slices still keeps its own slice axis first.

    Returns:
        the oriented volume, whose data are a view, and what was done.
    """
    axes = _unit(volume.affine)
    if like is not None:
        frame, first = _unit(like), _thick_axis(volume.spacing)
    else:
        first = slice_axis(volume)
        frame = _FRAMES[int(np.argmax(np.abs(_TILT.T @ axes[:, first])))]
    orientation = _closest(axes, _TILT @ frame, first)
    return orientation.apply(volume), orientation


def plane_angle(volume: Volume, like: Affine) -> float:
    """Degrees between the slices of a volume and those of a prepared one, with affine `like`.

    0 is the same plane; a sagittal and an axial scan are 90 degrees apart.
    """
    oriented, _ = orient(volume, like)
    cosine = abs(float(_unit(oriented.affine)[:, 0] @ _unit(like)[:, 0]))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def match_axes(volume: Volume, affine: Affine) -> tuple[Volume, Orientation]:
    """Reorder and flip all three axes of a volume to run like those of `affine`."""
    orientation = _closest(_unit(volume.affine), _TILT @ _unit(affine), None)
    return orientation.apply(volume), orientation


def slice_axis(volume: Volume) -> int:
    """The array axis that runs through the slices: the thick one, else the one nearest to head."""
    thick = _thick_axis(volume.spacing)
    if thick is not None:
        return thick
    return int(np.argmax(np.abs((_TILT @ _HEAD) @ _unit(volume.affine))))


def check_affine(affine: Affine, path: Path | str) -> None:
    """Refuse an affine that does not place voxels on a right-angled grid.

    Raises:
        VolumeError: it is not a finite, invertible, orthogonal (4, 4) affine.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise _bad_affine(path, f"the affine is not finite: {affine.tolist()}")
    if not np.allclose(affine[3], (0, 0, 0, 1)):
        raise _bad_affine(path, f"the last row of the affine is {affine[3].tolist()}")
    if np.abs(affine[:3, 3]).max() > FAR_MM:
        place = " ".join(f"{mm:g}" for mm in affine[:3, 3])
        raise _bad_affine(path, f"the first voxel lies at {place} mm")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not ((lengths > 1e-6) & (lengths < 1e6)).all():
        raise _bad_affine(path, f"the affine is singular: the voxel sizes are {lengths} mm")
    axes = _unit(affine)
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if abs(np.linalg.det(axes)) < 1e-6:
        raise _bad_affine(path, "the affine is singular: its axes lie in one plane")
    if shear > SHEAR_TOLERANCE:
        degrees = np.degrees(np.arcsin(shear))
        raise _bad_affine(path, f"the affine is sheared: two axes are {degrees:.2f}° off 90°")


def same_grid(a: Volume, b: Volume) -> float:
    """Largest distance in mm between corner voxels of the same index; inf if shapes differ."""
    if a.data.shape != b.data.shape:
        return float("inf")
    last = np.array(a.data.shape) - 1
    corners = np.array(list(itertools.product((0, 1), repeat=3))) * last
    corners = np.c_[corners, np.ones(8)]
    apart = corners @ (a.affine - b.affine).T
    return float(np.linalg.norm(apart[:, :3], axis=1).max())


def on_grid(mask: Volume, image: Volume, path: Path | str) -> Volume:
    """The mask with its array axes in the image's order.

    Raises:
        VolumeError: it lies elsewhere.
    """
    aligned, _ = match_axes(mask, image.affine)
    apart = same_grid(aligned, image)
    if apart <= GRID_TOLERANCE_MM:
        return aligned
    if np.isinf(apart):
        found = f"the mask is {mask.data.shape} voxels and its image {image.data.shape}"
    else:
        found = f"the mask lies up to {apart:.1f} mm away from its image"
    raise VolumeError(
        path,
        found,
        f"the grid of the image, within {GRID_TOLERANCE_MM} mm",
        "Export the mask on the image's grid, or check that they belong together.",
    )


def _bad_affine(path: Path | str, found: str) -> VolumeError:
    return VolumeError(
        path,
        found,
        "a finite, invertible affine with axes at right angles",
        "Export the scan again, or resample it to a regular grid.",
    )


def _unit(affine: Affine) -> Affine:
    """Directions (3, 3) of the array axes, in columns of length 1."""
    columns = affine[:3, :3]
    return np.asarray(columns / np.linalg.norm(columns, axis=0), dtype=np.float64)


def _thick_axis(spacing: tuple[float, float, float]) -> int | None:
    """The one axis whose spacing stands out, if there is one."""
    order = np.argsort(spacing)
    small, middle, large = (spacing[axis] for axis in order)
    stands_out = large >= THICK * (small + middle) / 2 and large > middle * (1 + 1e-3)
    return int(order[2]) if stands_out else None


def _closest(axes: Affine, frame: Affine, first: int | None) -> Orientation:
    """Of all signed permutations, with `first` in front if given, the one closest to `frame`."""
    permutations = [p for p in itertools.permutations(range(3)) if first in (None, p[0])]
    cosines = [(axes[:, p] * frame).sum(axis=0) for p in permutations]
    # For a given permutation the best signs are those of the cosines.
    best = int(np.argmax([np.abs(c).sum() for c in cosines]))
    i, j, k = permutations[best]
    flip_i, flip_j, flip_k = (bool(c < 0) for c in cosines[best])
    return Orientation((i, j, k), (flip_i, flip_j, flip_k))
