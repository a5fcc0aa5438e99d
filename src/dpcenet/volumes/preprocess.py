"""From a scan to the slices that a network sees, and the way back.

Orient, clip, resample, crop or pad, normalise. Each step leaves its parameters in a `Record`,
which takes labels the same way and brings masks back to the scan's own grid.

Source: the data preparation that the field shares since SSL-ALPNet (Ouyang et al., ECCV 2020).
Deviates: scans are oriented by their affine first; "fit" keeps the whole field of view; outside
the scan lies its minimum, where the lineage resamples with 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import Slices, blocks, in_slices, low_and_high, room_for
from dpcenet.types import Volume
from dpcenet.volumes import resample
from dpcenet.volumes.boxes_and_values import Parts, percentile
from dpcenet.volumes.field_of_view import body_of, crop_start, shown
from dpcenet.volumes.geometry import Affine, Orientation, on_grid, orient
from dpcenet.volumes.intensities import ClippedSlices, find_padding
from dpcenet.volumes.mask_checks import whole_labels
from dpcenet.volumes.record import Preprocessing, Record
from dpcenet.volumes.scan_file import ScanFile, SourceGrid

__all__ = ["Prepared", "Preprocessing", "Record", "preprocess", "preprocess_labels"]

SAME_SPACING = 1e-3
"""Spacings that differ by less than this part are the same: nothing is interpolated."""


MAX_PREPARED_BYTES = 2 * 1024**3
"""Largest prepared image: 8192 slices of 256 × 256."""

MAX_GROWTH = 64
GROWS_FREELY = 192 * 1024**2
"""A larger image has at most `MAX_GROWTH` times the voxels of its scan. Thousands of slices of
2 × 2 voxels would take gigabytes from a file of some kilobytes."""


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
    data = ClippedSlices.of(oriented.data, find_padding(oriented, declared), rules.clip_low)
    bounded: Slices = oriented.data if data.padding is None else data
    rows, columns = slice(None), slice(None)
    if _is_coarser(plan):
        data = data.clipped(rules.clip_low, None)  # air below it is all alike
        finer = _without_margins(plan, data, oriented.spacing)
        if finer is not plan:
            (rows, columns), bounded = _shown(finer, data.shape[1:]), data
            plan = finer
    low, high = _clip_bounds(lambda: (s[rows, columns] for s in in_slices(bounded)), rules)
    data = data.clipped(low, high)
    image = _place(data, plan, fill=min(float(plane.min()) for plane in in_slices(data)))
    mean, std = _statistics(image, rules)
    for part in blocks(image):
        image[part] -= np.float32(mean)
        image[part] /= np.float32(std)
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
    low, high = low_and_high(placed.data)
    if low < 0 or high > np.iinfo(np.uint8).max:
        found = f"values from {low} to {high}"
        raise VolumeError("the labels", found, "0 to 255", "Renumber the labels.")
    out = whole_labels(record.orientation.apply(placed).data)
    if record.step != (1.0, 1.0, 1.0):
        out = resample.linear_labels(out, record.resampled_positions())
    return resample.crop_or_pad(out, record.offset, record.shape, fill=0)


def _check_size(plan: Record) -> None:
    """Refuse a plan that would take too much memory, before any of it is asked for."""
    size = 4 * max(math.prod(plan.shape), math.prod(plan.resampled))
    grown = size > max(GROWS_FREELY, 4 * MAX_GROWTH * math.prod(plan.grid.shape))
    if size > MAX_PREPARED_BYTES or grown:
        raise VolumeError(
            "the scan",
            f"{plan.grid.shape} voxels become {plan.resampled}, {size:,} bytes",
            f"at most {MAX_PREPARED_BYTES:,}, and {MAX_GROWTH} times the voxels",
            "Is the spacing right, and is this one scan? Crop or resample it.",
        )


def _clip_bounds(parts: Parts, rules: Preprocessing) -> tuple[float | None, float | None]:
    """Lowest and highest intensity that is kept of the slices that `parts` gives."""
    high = rules.clip_high
    if rules.clip_percentile is not None:
        top = percentile(parts, rules.clip_percentile)
        high = top if high is None else min(top, high)
    return rules.clip_low, high


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


def _is_coarser(plan: Record) -> bool:
    """Whether the field of view was too large for the spacing that was asked for."""
    asked = plan.rules.spacing_mm
    if asked is None or plan.rules.overflow == "crop":
        return False
    return plan.spacing[1] > asked * (1 + SAME_SPACING)


def _without_margins(
    plan: Record, data: ClippedSlices, spacing: tuple[float, float, float]
) -> Record:
    """The plan at finer pixels, if rows and columns that hold nothing but air need not fit.

    Args:
        plan: of the whole field of view, with pixels coarser than asked.
        data: (Z, Y, X), oriented; `spacing` in mm.
    """
    body = body_of(data)
    for slack in range(4):  # the body may begin and end between two pixels
        rows, columns = (end - first + slack for first, end in body)
        target = in_plane_spacing((rows, columns), spacing[1:], plan.rules)
        step = (plan.step[0], _step(spacing[1], target), _step(spacing[2], target))
        high, wide = (
            resample.resampled_length(n, s) for n, s in zip(data.shape[1:], step[1:], strict=True)
        )
        y = crop_start(body[0], high, step[1], plan.rules.size)
        x = crop_start(body[1], wide, step[2], plan.rules.size)
        resampled = (plan.resampled[0], high, wide)
        fits = 4 * math.prod(resampled) <= MAX_PREPARED_BYTES and step[1] < plan.step[1]
        if y is not None and x is not None and fits:
            return replace(plan, step=step, resampled=resampled, offset=(0, y, x))
    return plan


def _shown(plan: Record, lengths: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the oriented scan that the prepared image shows."""
    axes = zip(plan.offset[1:], plan.shape[1:], plan.step[1:], lengths, strict=True)
    rows, columns = (shown(*axis) for axis in axes)
    return rows, columns


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


def _place(data: ClippedSlices, plan: Record, fill: float) -> npt.NDArray[np.float32]:
    """Resample what the crop shows, and fill the rest of it."""
    out: npt.NDArray[np.float32] = room_for(plan.shape, np.float32)
    for part in blocks(out):
        out[part] = fill
    lengths = data.shape if plan.step == (1.0, 1.0, 1.0) else plan.resampled
    source, target = resample.overlap(plan.offset, plan.shape, lengths)
    at = [
        np.arange(part.start, part.stop, dtype=np.float64) * step
        for part, step in zip(source, plan.step, strict=True)
    ]
    resample.linear(data, at, fill, out=out[target])
    return out


def _statistics(image: npt.NDArray[np.float32], rules: Preprocessing) -> tuple[float, float]:
    if rules.mean is not None and rules.std is not None:
        return rules.mean, rules.std
    mean = sum(float(image[part].sum(dtype=np.float64)) for part in blocks(image)) / image.size
    squares = (float(np.square(image[part] - np.float64(mean)).sum()) for part in blocks(image))
    std = math.sqrt(sum(squares) / image.size)
    if std == 0:
        raise VolumeError(
            "the scan",
            f"every prepared voxel is {mean}",
            "an image with contrast",
            "Check the clipping bounds and that this is the scan.",
        )
    return mean, std
