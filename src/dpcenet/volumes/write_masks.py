"""Masks to files: in the exact grid of the scan they belong to, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import changed, low_and_high
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.dicom.write_seg import write_seg
from dpcenet.volumes.io import (
    DEFAULT_SUFFIX,
    DICOM_SUFFIX,
    FORMATS,
    WRITABLE,
    stem,
    suffix_of,
)
from dpcenet.volumes.scan_file import NO_LABELS, Code, Labels, ScanFile, SourceGrid

SUFFIX_OF: Mapping[str, str] = {
    "nifti": ".nii.gz",
    "dicom-seg": DICOM_SUFFIX,
    "seg.nrrd": ".seg.nrrd",
    "mha": ".mha",
}
"""What `--format` may ask for."""


def in_format(path: Path, form: str | None) -> Path:
    """The path of a mask with the suffix of the format that was asked for; None leaves it."""
    if form is None or path.name.lower().endswith(SUFFIX_OF[form]):
        return path
    name = path.stem if path.suffix.lower() == DICOM_SUFFIX else stem(path)
    return path.with_name(f"{name}{SUFFIX_OF[form]}")


def check_suffix(path: Path) -> None:
    """Refuse a name in whose format no mask is written.

    Raises:
        VolumeError: the message says in which it is.
    """
    if suffix_of(path) not in WRITABLE and path.suffix.lower() != DICOM_SUFFIX:
        raise _no_format(path)


def paths_for(path: Path) -> tuple[Path, ...]:
    """Where `write_somehow` may write: the path, or .nii.gz in place of a DICOM SEG."""
    other = path.with_suffix(DEFAULT_SUFFIX)
    return (path, other) if path.suffix.lower() == DICOM_SUFFIX else (path,)


def write_labels(
    mask: npt.NDArray[Any],
    path: Path,
    scan: ScanFile,
    names: Mapping[int, str],
    algorithm: Algorithm,
    codes: Mapping[int, Code] = MappingProxyType({}),
) -> None:
    """Write a scan's labels: as DICOM SEG where the path ends in .dcm, else as `write_mask` does.

    Args:
        mask: (Z, Y, X) labels in the array order of the scan's file.
        path: where; a .dcm needs a scan that was read from a DICOM series.
        scan: what the labels belong to.
        names: label value → name.
        algorithm: what made the mask; a SEG says so.
        codes: label value → what it shows, where that is known.

    Raises:
        VolumeError: the mask cannot be written there; the message says why.
    """
    if path.suffix.lower() == DICOM_SUFFIX:
        write_seg(mask, path, scan, names, algorithm, codes=codes)
    else:
        write_mask(mask, path, scan.grid, Labels(names, codes))


def write_somehow(
    mask: npt.NDArray[Any],
    path: Path,
    scan: ScanFile,
    names: Mapping[int, str],
    algorithm: Algorithm,
    codes: Mapping[int, Code] = MappingProxyType({}),
) -> tuple[Path, str]:
    """Write a scan's labels; as .nii.gz beside `path` where no SEG can be made.

    Args:
        mask, path, scan, names, algorithm, codes: of `write_labels`.

    Returns:
        what was written, and why it is no SEG; "" where it is what was asked for.

    Raises:
        VolumeError: the mask does not fit its scan.
    """
    try:
        write_labels(mask, path, scan, names, algorithm, codes)
    except VolumeError as error:
        if path.suffix.lower() != DICOM_SUFFIX:
            raise
        other = paths_for(path)[-1]
        write_mask(mask, other, scan.grid, Labels(names, codes))
        return other, f"no DICOM SEG: {error.found}"
    return path, ""


def write_mask(
    mask: npt.NDArray[Any], path: Path, grid: SourceGrid, labels: Labels = NO_LABELS
) -> None:
    """Write labels in the exact grid of the scan they belong to, whole or not at all.

    Args:
        mask: (Z, Y, X) labels in the array order of the scan's file; written as uint8, or as
            uint16 if a label is above 255.
        path: where; the suffix chooses the format, which need not be the scan's.
        grid: of the scan.
        labels: what the values mean, which .nii, .nii.gz and .nrrd hold, too.

    Raises:
        VolumeError: the mask does not fit the grid or the type, or the suffix is unknown.
    """
    if mask.shape != grid.shape:
        raise VolumeError(path, f"the mask is {mask.shape}", f"{grid.shape}", "Restore it first.")
    low, high = low_and_high(mask)
    if low < 0 or high > np.iinfo(np.uint16).max:
        found = f"labels from {low} to {high}"
        raise VolumeError(path, found, "0 to 65535", "Renumber the labels.")
    stored = changed(mask, np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    write = FORMATS[suffix_of(path)].write if suffix_of(path) in WRITABLE else None
    if write is None:
        raise _no_format(path)
    write(stored, path, grid, labels)


def _no_format(path: Path) -> VolumeError:
    found = f"no mask is written as {path.suffix!r}"
    return VolumeError(path, found, f"{', '.join(WRITABLE)} or {DICOM_SUFFIX}", "Rename it.")
