"""Read a scan or a mask of any supported format, check it, and write a mask beside the scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import is_dicom, is_segmentation
from dpcenet.volumes.dicom.read_seg import read_seg
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.dicom.write_seg import write_seg
from dpcenet.volumes.geometry import on_grid
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.itk import read_itk, write_itk
from dpcenet.volumes.nifti import read_nifti, write_nifti
from dpcenet.volumes.size_guards import MAX_BYTES, check_file

__all__ = [
    "SUFFIXES",
    "ScanFile",
    "SourceGrid",
    "check_intensities",
    "check_mask",
    "holds_labels",
    "read_volume",
    "stem",
    "suffix_of",
    "write_labels",
    "write_mask",
]

NIFTI_SUFFIXES = (".nii.gz", ".nii")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES
DICOM_SUFFIX = ".dcm"
FEW = 16
"""A file with so few different whole numbers is no scan."""
MASK_VALUES = 64
"""A file named like a mask that holds more different values than this is a scan."""


def suffix_of(path: Path) -> str:
    """The suffix by which the format is chosen, in lower case; "" if it is none of SUFFIXES."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """File name without .nii.gz or another suffix of SUFFIXES."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def read_volume(path: Path, max_bytes: int = MAX_BYTES) -> ScanFile:
    """Read a scan or a mask; the suffix chooses the reader.

    Args:
        path: the file. A folder that holds one DICOM series, or a file of it, is the series; a
            DICOM segmentation is a mask. DICOM files need no suffix.
        max_bytes: cap on the voxels, after decompression.

    Returns:
        the volume (Z, Y, X) and its grid, for writing a mask back.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    if path.is_dir():
        return read_series(path, max_bytes)
    check_file(path)
    if suffix_of(path) in NIFTI_SUFFIXES:
        return read_nifti(path, max_bytes)
    if suffix_of(path) in ITK_SUFFIXES:
        return read_itk(path, max_bytes)
    if path.suffix.lower() != DICOM_SUFFIX and not is_dicom(path):
        raise _unknown(path)
    if not is_segmentation(path):
        return read_series(path, max_bytes)
    volume, _ = read_seg(path, max_bytes)
    return ScanFile(volume, SourceGrid.of(volume))


def write_labels(
    mask: npt.NDArray[Any],
    path: Path,
    scan: ScanFile,
    names: Mapping[int, str],
    algorithm: Algorithm,
) -> None:
    """Write a scan's labels: as DICOM SEG where the path ends in .dcm, else as `write_mask` does.

    Args:
        mask: (Z, Y, X) labels in the array order of the scan's file.
        path: where; a .dcm needs a scan that was read from a DICOM series.
        scan: what the labels belong to.
        names: label value → name; a SEG names its segments so.
        algorithm: what made the mask; a SEG says so.

    Raises:
        VolumeError: the mask cannot be written there; the message says why.
    """
    if path.suffix.lower() == DICOM_SUFFIX:
        write_seg(mask, path, scan, names, algorithm)
    else:
        write_mask(mask, path, scan.grid)


def write_mask(mask: npt.NDArray[Any], path: Path, grid: SourceGrid) -> None:
    """Write labels in the exact grid of the scan they belong to, whole or not at all.

    Args:
        mask: (Z, Y, X) labels in the array order of the scan's file; written as uint8, or as
            uint16 if a label is above 255.
        path: where; the suffix chooses the format, which need not be the scan's.
        grid: of the scan.

    Raises:
        VolumeError: the mask does not fit the grid or the type, or the suffix is unknown.
    """
    if mask.shape != grid.shape:
        raise VolumeError(path, f"the mask is {mask.shape}", f"{grid.shape}", "Restore it first.")
    if mask.min() < 0 or mask.max() > np.iinfo(np.uint16).max:
        found = f"labels from {mask.min()} to {mask.max()}"
        raise VolumeError(path, found, "0 to 65535", "Renumber the labels.")
    labels = mask.astype(np.uint8 if mask.max() <= np.iinfo(np.uint8).max else np.uint16)
    if suffix_of(path) in NIFTI_SUFFIXES:
        write_nifti(labels, path, grid)
    elif suffix_of(path) in ITK_SUFFIXES:
        write_itk(labels, path, grid)
    else:
        raise _unknown(path)


def check_intensities(volume: Volume, path: Path | str) -> None:
    """Refuse an image that has voxels without a value, only one value, or values like labels.

    Raises:
        VolumeError: NaN or infinite voxels, a constant image, or a mask.
    """
    data: npt.NDArray[Any] = volume.data
    bad = np.argwhere(~np.isfinite(data))
    if len(bad):
        z, y, x = bad[0].tolist()
        raise VolumeError(
            path,
            f"{len(bad):,} voxels are NaN or infinite, the first at z={z}, y={y}, x={x} "
            f"(array indices)",
            "a finite number in every voxel",
            "Export the scan again, or replace these voxels.",
        )
    low, high = data.min(), data.max()
    if low == high:
        raise VolumeError(
            path,
            f"every voxel is {data.flat[0]}",
            "an image with contrast",
            "Check that this is the scan.",
        )
    if high <= np.iinfo(np.uint8).max and holds_labels(data, FEW):
        raise VolumeError(
            path,
            f"this looks like a mask: it holds at most {FEW} different whole numbers",
            "a scan",
            "Leave it out; for a labelled scan, check that image and mask are not swapped.",
        )


def holds_labels(data: npt.NDArray[Any], most: int = MASK_VALUES) -> bool:
    """Whether an array (Z, ...) holds at most `most` different whole numbers, none below 0.

    Plane by plane: a scan shows more after a few of them.
    """
    seen: set[float] = set()
    for plane in data:
        values = np.unique(plane)
        if not (np.isfinite(values) & (values == np.round(values)) & (values >= 0)).all():
            return False
        seen.update(values.tolist())
        if len(seen) > most:
            return False
    return True


def check_mask(mask: Volume, image: Volume, path: Path | str) -> npt.NDArray[np.int64]:
    """Refuse a mask that does not lie on its image, or holds no labels.

    A mask whose array axes are stored in another order is fine if it lies in the same place.

    Returns:
        (Z, Y, X) int64 labels in the array order of the image.

    Raises:
        VolumeError: another grid, values that are no labels, or an empty mask.
    """
    data: npt.NDArray[Any] = mask.data
    if not (np.isfinite(data).all() and (data == np.round(data)).all()):
        found = "there are values that are no whole numbers"
        raise _bad_labels(path, found, "Was it resampled? Use nearest neighbours for labels.")
    if data.min() < 0:
        raise _bad_labels(path, f"the smallest value is {data.min()}", "Renumber the labels.")
    if data.max() > np.iinfo(np.uint8).max:
        found = f"the largest value is {data.max()}"
        raise _bad_labels(path, found, "Are image and mask swapped? Else renumber the labels.")
    if not data.any():
        raise _bad_labels(path, "the mask is empty", "Label at least one voxel.")
    return on_grid(mask, image, path).data.astype(np.int64)


def _bad_labels(path: Path | str, found: str, remedy: str) -> VolumeError:
    return VolumeError(path, found, "whole numbers from 0 (background) to 255, not all 0", remedy)


def _unknown(path: Path) -> VolumeError:
    return VolumeError(
        path,
        f"the suffix {path.suffix!r} is unknown",
        f"{' or '.join(SUFFIXES)}, or DICOM",
        "Convert the scan, for instance to .nii.gz.",
    )
