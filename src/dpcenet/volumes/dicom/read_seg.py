"""DICOM segmentations (SEG) read as label maps.

Needs highdicom: the extra `dicom`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.headers import bad, parsing, read_header, reason
from dpcenet.volumes.dicom.segment_descriptions import (
    closing,
    codes_of,
    import_highdicom,
    labels_of,
)
from dpcenet.volumes.geometry import LPS_TO_RAS, check_affine, match_axes
from dpcenet.volumes.resample import crop_or_pad
from dpcenet.volumes.scan_file import AS_IT_IS, Facts, Labels, ReadOptions, ScanFile, SourceGrid
from dpcenet.volumes.size_guards import MAX_BYTES, BoundedFile, check_claim

THRESHOLD = 0.5
"""A voxel of a fractional segmentation belongs to the segment from here on."""

_ROUNDED_MM = 0.11
"""Gaps between slices may differ this much: headers round positions to 0.1 mm."""


def read_seg(path: Path, max_bytes: int = MAX_BYTES, options: ReadOptions = AS_IT_IS) -> ScanFile:
    """Read a SEG, which may cover only some slices of its scan.

    Args:
        path: the file.
        max_bytes: cap on the voxels of all frames.
        options: none of them concerns a SEG.

    Returns:
        (Z, Y, X) uint16 labels, with their names and codes. Values are those of the labelled scan
        where dpcenet wrote the file, else the segments' numbers. A fractional SEG is cut at one
        half, which is noted.

    Raises:
        VolumeError: highdicom is missing, or the file cannot be used; the message says why.
    """
    header = read_header(path)
    with parsing(path):
        frames, rows = int(header.get("NumberOfFrames", None) or 0), int(header.get("Rows", 0))
        plane = rows * int(header.get("Columns", 0))
        fractional = str(header.get("SegmentationType", "")) == "FRACTIONAL"
    check_claim(path, frames * plane, max_bytes, 8 * path.stat().st_size)  # eight voxels in a byte
    hd = import_highdicom(path)
    try:
        with BoundedFile(path) as stream, closing(hd.seg.segread(stream)) as seg:
            _check_extent(seg, plane, max_bytes, path)
            found = _fractions(seg) if fractional else _binary(seg)
            values, names = labels_of(seg)
            codes = codes_of(seg, values)
    except (DpcenetError, MemoryError):
        raise
    except Exception as error:  # whatever highdicom meets; see `headers.parsing`
        text = f"the segments cannot be read ({reason(error)})"
        expected = "segments on one regular grid that do not overlap"
        raise bad(path, text, expected, "Export the segmentation again.") from error
    table = np.zeros(max(values) + 1, np.uint16)
    table[list(values)] = list(values.values())
    affine = np.asarray(LPS_TO_RAS @ found.affine, dtype=np.float64)
    check_affine(affine, path)
    volume = Volume(table[found.array], affine)
    notes = (f"a fractional segmentation, cut at {THRESHOLD}",) if fractional else ()
    facts = Facts(labels=Labels(names, codes), notes=notes)
    return ScanFile(volume, SourceGrid.of(volume), facts=facts)


def _check_extent(seg: Any, plane: int, max_bytes: int, path: Path) -> None:
    """Refuse two frames that claim a gigabyte of empty slices between them."""
    geometry = seg.get_volume_geometry(atol=_ROUNDED_MM)
    if geometry is not None:
        size = int(np.prod([int(n) for n in geometry.spatial_shape])) * 2
        check_claim(path, size, max_bytes, size)


def _binary(seg: Any) -> Any:
    return seg.get_volume(combine_segments=True, dtype=np.uint16, atol=_ROUNDED_MM)


def _fractions(seg: Any) -> Any:
    """The segment of the largest fraction in each voxel, from one half on."""
    found = seg.get_volume(combine_segments=False, dtype=np.float32, atol=_ROUNDED_MM)
    numbers = np.array([0, *seg.segment_numbers], np.uint16)
    array = found.array.reshape(*found.array.shape[:3], len(numbers) - 1)
    best = array.argmax(axis=3)
    inside = np.take_along_axis(array, best[..., None], axis=3)[..., 0] >= THRESHOLD
    return found.with_array(numbers[np.where(inside, best + 1, 0)])


def spread(mask: Volume, image: Volume, path: Path) -> Volume:
    """A mask that covers some slices of an image, on all of its grid; 0 where it says nothing.

    Raises:
        VolumeError: it labels voxels outside the image.
    """
    aligned, _ = match_axes(mask, image.affine)
    start = np.linalg.inv(image.affine) @ aligned.affine[:, 3]
    offset = [-int(value) for value in np.rint(start[:3])]
    data = crop_or_pad(aligned.data, offset, image.data.shape, 0)
    if np.count_nonzero(data) < np.count_nonzero(aligned.data):
        remedy = "Check that the segmentation and the scan belong together."
        raise VolumeError(path, "segments reach beyond the scan", "segments inside it", remedy)
    affine = aligned.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ offset
    return Volume(data, affine)
