"""Oblique, anisotropic volumes whose content is known in mm, and all ways to store them."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from dpcenet.types import Volume
from dpcenet.volumes.record import Record

Axes = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
STORED_48: list[Axes] = [
    (p, f)
    for p in itertools.permutations(range(3))
    for f in itertools.product((False, True), repeat=3)
]


def positions(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """RAS mm of every voxel, (*shape, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def store(volume: Volume, axes: Axes) -> Volume:
    """The same voxels at the same places, in another array order; written without Orientation."""
    permutation, flips = axes
    old = np.indices(volume.data.shape)
    new = [old[a].transpose(permutation) for a in range(3)]
    reverse = tuple(slice(None, None, -1 if f else 1) for f in flips)
    new = [index[reverse] for index in new]
    at = volume.affine
    first = np.array([index[0, 0, 0] for index in new])
    affine = np.eye(4)
    affine[:3, 3] = at[:3, :3] @ first + at[:3, 3]
    for axis in range(3):
        step = [0, 0, 0]
        step[permutation[axis]] = -1 if flips[axis] else 1
        affine[:3, axis] = at[:3, :3] @ step
    return Volume(volume.data[tuple(new)], affine)


def make_phantom(
    shape: tuple[int, int, int] = (12, 90, 80),
    spacing: tuple[float, float, float] = (6.0, 1.1, 1.3),
    degrees: tuple[float, float, float] = (8.0, -12.0, 17.0),
    radius: float = 30.0,
) -> tuple[Volume, Volume]:
    """An image, and its labels: a smooth blob of label 1 with a core of label 2."""
    axes = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]]).T  # z to the head, y back, x left
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * np.array(spacing)
    affine[:3, 3] = (31.0, -17.0, 203.0)
    at = positions(shape, affine)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) * (0.45, 0.52, 0.56)) + affine[:3, 3]
    distance = np.linalg.norm((at - centre) / (1.0, 1.2, 0.9), axis=-1)
    image = 400 * np.exp(-((distance / 40) ** 2)) + 30 * np.sin(at[..., 0] / 17) + 60
    labels = (distance < radius).astype(np.uint8) + (distance < 0.6 * radius)
    return Volume(image.astype(np.float32), affine), Volume(labels.astype(np.uint8), affine)


def centroid(
    mask: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Centre of mass in RAS mm."""
    return positions(mask.shape, affine)[mask].mean(axis=0)


def restored(record: Record, labels: np.ndarray) -> np.ndarray:
    """Labels of a prepared image on the scan's grid, the way that `segment` brings them back."""
    values = [int(value) for value in np.unique(labels) if value]
    return record.restore_labels({v: (labels == v).astype(np.float32) for v in values})
