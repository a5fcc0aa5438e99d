"""From a scan to the slices that a network sees, and the way back.

Orient, clip, resample, crop or pad, normalise. Each step leaves its parameters in a `Record`,
which takes labels the same way and brings masks back to the scan's own grid.

Source: the data preparation that the field shares since SSL-ALPNet (Ouyang et al., ECCV 2020).
Deviates: scans are oriented by their affine first; "fit" keeps the whole field of view; outside
the scan lies its minimum, where the lineage resamples with 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes import resample
from dpcenet.volumes.geometry import Affine, Orientation, on_grid, orient
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.padding import find_padding, replace_padding
from dpcenet.volumes.record import Preprocessing, Record

__all__ = ["Prepared", "Preprocessing", "Record", "preprocess", "preprocess_labels"]

SAME_SPACING = 1e-3
"""Spacings that differ by less than this part are the same: nothing is interpolated."""


MAX_PREPARED_BYTES = 2 * 1024**3
"""Largest prepared image: 8192 slices of 256 × 256."""


@dataclass(frozen=True)
class Prepared:
    """A scan as a network sees it.

    Attributes:
        image: (Z, size, size) float32, normalised.
        affine: (4, 4); takes the index (z, y, x, 1) of `image` to RAS+ mm.
    """

    image: npt.NDArray[np.float32]
    affine: Affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing along z, y and x in mm."""
        return Volume(self.image, self.affine).spacing


def preprocess(
    scan: ScanFile | Volume, rules: Preprocessing, like: Affine | None = None
) -> tuple[Prepared, Record]:
    """Prepare a scan. Padding that is not the scan's own minimum is judged as if it were.

    Args:
        scan: (Z, Y, X) intensities in any array order, with or without the grid of its file.
        rules: what to do.
        like: (4, 4) affine of an oriented or prepared volume that this one is oriented like.

    Returns:
        the prepared image, and the record that undoes it.

    Raises:
        VolumeError: the prepared image is constant, or too large to be meant.
    """
    volume = scan.volume if isinstance(scan, ScanFile) else scan
    grid = scan.grid if isinstance(scan, ScanFile) else SourceGrid.of(scan)
    oriented, orientation = orient(volume, like)
    plan = _plan(oriented, orientation, grid, rules)
    _check_size(plan)
    declared = scan.facts.padding if isinstance(scan, ScanFile) else None
    data, bounded = oriented.data.astype(np.float32), volume.data
    if padding := find_padding(oriented, declared):
        replace_padding(data, padding, fill=rules.clip_low)
        bounded = data
    low, high = _clip_bounds(bounded, rules)
    _clip(data, low, high)
    image = _place(data, plan, fill=float(data.min()))
    mean, std = _statistics(image, rules)
    image -= np.float32(mean)
    image /= np.float32(std)
    record = replace(plan, clip=(low, high), mean=mean, std=std)
    return Prepared(image, record.affine), record


def preprocess_labels(labels: Volume, record: Record) -> npt.NDArray[np.uint8]:
    """Take labels the way of their scan.

    Args:
        labels: (Z, Y, X) whole numbers 0…255 in the place of the scan, in any array order.
        record: of the scan.

    Returns:
        (Z, size, size) uint8, 0 outside the scan.

    Raises:
        VolumeError: the labels lie elsewhere, or one is above 255.
    """
    blank = np.broadcast_to(np.uint8(0), record.grid.shape)
    placed = on_grid(labels, Volume(blank, record.grid.matrix), "the labels")
    if placed.data.min() < 0 or placed.data.max() > np.iinfo(np.uint8).max:
        found = f"values from {placed.data.min()} to {placed.data.max()}"
        raise VolumeError("the labels", found, "0 to 255", "Renumber the labels.")
    stored: npt.NDArray[Any] = record.orientation.apply(placed).data
    data = np.round(stored)  # some programs store 0.99999
    if record.step == (1.0, 1.0, 1.0):
        out = data.astype(np.uint8)
    else:
        out = resample.linear_labels(data, record.resampled_positions())
    return resample.crop_or_pad(out, record.offset, record.shape, fill=0)


def _check_size(plan: Record) -> None:
    """Refuse a plan that would take too much memory, before any of it is asked for."""
    size = 4 * max(math.prod(plan.shape), math.prod(plan.resampled))
    if size > MAX_PREPARED_BYTES:
        raise VolumeError(
            "the scan",
            f"{plan.grid.shape} voxels become {plan.resampled}, {size:,} bytes",
            f"at most {MAX_PREPARED_BYTES:,}",
            "Is the spacing right, and is this one scan? Crop or resample it.",
        )


def _clip_bounds(data: npt.NDArray[Any], rules: Preprocessing) -> tuple[float | None, float | None]:
    high = rules.clip_high
    if rules.clip_percentile is not None:
        top = float(np.percentile(data, rules.clip_percentile))
        high = top if high is None else min(top, high)
    return rules.clip_low, high


def _clip(data: npt.NDArray[np.float32], low: float | None, high: float | None) -> None:
    """In place: a copy of a whole scan may be a gigabyte."""
    if low is not None:
        np.maximum(data, np.float32(low), out=data)
    if high is not None:
        np.minimum(data, np.float32(high), out=data)


def _plan(
    oriented: Volume, orientation: Orientation, grid: SourceGrid, rules: Preprocessing
) -> Record:
    """Where every prepared voxel comes from."""
    z, y, x = oriented.data.shape
    dz, dy, dx = oriented.spacing
    target = in_plane_spacing((y, x), (dy, dx), rules)
    step = (_step(dz, rules.slice_spacing_mm or dz), _step(dy, target), _step(dx, target))
    planes, rows, columns = (
        resample.resampled_length(n, s) for n, s in zip((z, y, x), step, strict=True)
    )
    if rules.overflow == "fit" or rules.spacing_mm is None:
        # The rule of lengths may add a row beyond the scan; it must not cost one of the scan's.
        rows, columns = min(rows, rules.size), min(columns, rules.size)
    half = rules.size // 2
    return Record(
        rules=rules,
        grid=grid,
        orientation=orientation,
        step=step,
        resampled=(planes, rows, columns),
        offset=(0, rows // 2 - half, columns // 2 - half),
        shape=(planes, rules.size, rules.size),
    )


def in_plane_spacing(
    shape: tuple[int, int], spacing: tuple[float, float], rules: Preprocessing
) -> float:
    """Target spacing in mm of rows and columns; coarser than asked where the scan has to fit."""
    n = np.array(shape)
    # The field of view fits, and the last voxel's centre lies within the last prepared voxel.
    voxels = np.maximum(n / rules.size, (n - 1) / (rules.size - 0.5))
    fitted = float((voxels * spacing).max())
    if rules.spacing_mm is None:
        return fitted
    return rules.spacing_mm if rules.overflow == "crop" else max(rules.spacing_mm, fitted)


def _step(old: float, new: float) -> float:
    """Old voxels to a new one; exactly 1 where the spacings are the same."""
    return 1.0 if abs(old / new - 1) < SAME_SPACING else new / old


def _place(data: npt.NDArray[np.float32], plan: Record, fill: float) -> npt.NDArray[np.float32]:
    """Resample, then crop or pad."""
    if plan.step != (1.0, 1.0, 1.0):
        data = resample.linear(data, plan.resampled_positions(), fill)
    return resample.crop_or_pad(data, plan.offset, plan.shape, fill)


def _statistics(image: npt.NDArray[np.float32], rules: Preprocessing) -> tuple[float, float]:
    if rules.mean is not None and rules.std is not None:
        return rules.mean, rules.std
    mean, std = float(image.mean(dtype=np.float64)), float(image.std(dtype=np.float64))
    if std == 0:
        raise VolumeError(
            "the scan",
            f"every prepared voxel is {mean}",
            "an image with contrast",
            "Check the clipping bounds and that this is the scan.",
        )
    return mean, std
