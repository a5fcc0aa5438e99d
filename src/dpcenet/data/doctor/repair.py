"""Repair a case: voxels that are NaN or infinite, and labels on another grid than their scan.

`--fix` writes copies: a source is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.data.datasets.spec import RawCase
from dpcenet.data.doctor.doctor import Diagnosis, DoctorCase
from dpcenet.errors import ConfigError, InputError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, match_axes, same_grid
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import SourceGrid
from dpcenet.volumes.write_masks import write_mask


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
    line = f"{counted(int((~good).sum()), 'NaN or infinite voxel')} got the lowest value"
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


def write_fixed(diagnosis: Diagnosis, out: Path) -> list[str]:
    """Write repaired copies of the cases with errors, where they can be repaired.

    Args:
        diagnosis: the findings.
        out: folder for image_NAME.nii.gz and label_NAME.nii.gz.

    Returns:
        a line for each case with errors: what was changed, or that it cannot be repaired.

    Raises:
        ConfigError: a file that would be written exists.
    """
    lines = []
    for report in diagnosis.reports:
        if not report.errors:
            continue
        repaired = _repaired(diagnosis.cases.get(report.path))
        if repaired is None or not repaired.changes:
            lines.append(f"{report.case}: cannot be repaired")
            continue
        grid = SourceGrid.of(repaired.image)
        image, label = (out / f"{kind}_{report.case}.nii.gz" for kind in ("image", "label"))
        for path in (image, label):
            if path.exists():
                raise ConfigError(f"--fix: {path} exists; name an empty folder")
        data: npt.NDArray[Any] = repaired.image.data
        # float32 is a type that every NIfTI reader knows.
        write_nifti(data.astype(np.float32) if data.dtype.itemsize > 4 else data, image, grid)
        if repaired.label is not None:
            write_mask(repaired.label.data.astype(np.int64), label, grid)
        lines.append(f"{report.case}: {'; '.join(repaired.changes)}: {image}")
    return lines


def _repaired(case: DoctorCase | None) -> Repaired | None:
    """The case with its faults repaired; None if it cannot be read."""
    if case is None:
        return None
    try:
        return repair(case.spec.read(case.files))
    except InputError:
        return None  # its report already says why
