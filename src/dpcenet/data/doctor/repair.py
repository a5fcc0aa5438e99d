"""Repair a case: voxels that are NaN or infinite, and labels on another grid than their scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.data.datasets.spec import RawCase
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, match_axes, same_grid


@dataclass(frozen=True)
class Repaired:
    """A case that can be used.

    Attributes:
        image, label: on one grid.
        changes: a line for each; empty where nothing was wrong.
    """

    image: Volume
    label: Volume | None
    changes: tuple[str, ...]


def repair(raw: RawCase) -> Repaired:
    """Repair a case; the input is not changed."""
    image, filled = _finite(raw.scan.volume)
    if raw.labels is None:
        return Repaired(image, None, filled)
    label, rounded = _whole(raw.labels)
    label, moved = _on_image(label, image)
    return Repaired(image, label, (*filled, *rounded, *moved))


def _finite(volume: Volume) -> tuple[Volume, tuple[str, ...]]:
    """The volume with its lowest value in place of NaN and infinity."""
    data: npt.NDArray[Any] = volume.data
    good = np.isfinite(data)
    if good.all() or not good.any():
        return volume, ()
    filled = np.where(good, data, data[good].min()).astype(data.dtype)
    line = f"{int((~good).sum()):,} voxels that were NaN or infinite got the lowest value"
    return Volume(filled, volume.affine), (line,)


def _whole(label: Volume) -> tuple[Volume, tuple[str, ...]]:
    """The labels rounded; values below 0 become background."""
    data = np.nan_to_num(np.asarray(label.data, dtype=np.float64), posinf=0, neginf=0)
    whole = np.maximum(np.rint(data), 0)
    changed = int((whole != label.data).sum())
    if not changed:
        return label, ()
    line = f"{changed:,} label voxels became whole numbers from 0 up"
    return Volume(whole.astype(np.int64), label.affine), (line,)


def _on_image(label: Volume, image: Volume) -> tuple[Volume, tuple[str, ...]]:
    """The labels on the grid of their image.

    Labels of the image's shape most likely lost their header, so they get the image's grid; others
    are resampled, nearest neighbour in mm.
    """
    aligned, _ = match_axes(label, image.affine)
    apart = same_grid(aligned, image)
    if apart <= GRID_TOLERANCE_MM:
        return aligned, ()
    if np.isfinite(apart):
        # Header lost: the array order is the image's too, so nothing is reordered.
        same_order = label.data.shape == image.data.shape
        data = label.data if same_order else aligned.data
        line = f"the labels were moved onto their image, by up to {apart:.1f} mm"
        return Volume(data, image.affine), (line,)
    to_label = np.linalg.inv(label.affine) @ image.affine
    data = ndimage.affine_transform(
        np.asarray(label.data), to_label, output_shape=image.data.shape, order=0
    )
    line = f"the labels were resampled from {label.data.shape} to {image.data.shape} voxels"
    return Volume(data, image.affine), (line,)
