"""DICOM segmentations (SEG) read as label maps.

Needs highdicom: the extra `dicom`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import bad, read_header, reason
from dpcenet.volumes.dicom.segment_descriptions import import_highdicom, labels_of
from dpcenet.volumes.geometry import LPS_TO_RAS, check_affine, match_axes
from dpcenet.volumes.resample import crop_or_pad
from dpcenet.volumes.size_guards import MAX_BYTES, check_claim

_PARSING_ERRORS = (
    *(AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OverflowError),
    *(RuntimeError, TypeError, ValueError),
)


def read_seg(path: Path, max_bytes: int = MAX_BYTES) -> tuple[Volume, dict[int, str]]:
    """Read a SEG, which may cover only some slices of its scan.

    Args:
        path: the file.
        max_bytes: cap on the voxels of all frames.

    Returns:
        (Z, Y, X) uint16 labels, and the name of each label. Values are those of the labelled scan
        where dpcenet wrote the file, else the segments' numbers.

    Raises:
        VolumeError: highdicom is missing, or the file cannot be used; the message says why.
    """
    header = read_header(path)
    frames, rows = int(header.get("NumberOfFrames", None) or 0), int(header.get("Rows", 0))
    claimed = frames * rows * int(header.get("Columns", 0))
    check_claim(path, claimed, max_bytes, 8 * path.stat().st_size)  # eight voxels in a byte
    if header.get("SegmentationType", "") == "FRACTIONAL":
        remedy = "Threshold it, and save it as a binary segmentation."
        raise VolumeError(path, "the segments are fractional", "binary ones", remedy)
    hd = import_highdicom(path)
    try:
        seg = hd.seg.segread(path)
        found = seg.get_volume(combine_segments=True, dtype=np.uint16)
        values, names = labels_of(seg)
    except _PARSING_ERRORS as error:
        found = f"the segments cannot be read ({reason(error)})"
        expected = "segments on one regular grid that do not overlap"
        raise bad(path, found, expected, "Export the segmentation again.") from error
    table = np.zeros(max(values) + 1, np.uint16)
    table[list(values)] = list(values.values())
    affine = LPS_TO_RAS @ found.affine
    check_affine(affine, path)
    return Volume(table[found.array], affine), names


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
