"""A mask of any format for its scan, with what its labels mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import find_segmentation, find_series
from dpcenet.volumes.dicom.headers import (
    LABEL_MAP,
    SEGMENTATION,
    STRUCTURES,
    doubts_of_origin,
    kind_of,
)
from dpcenet.volumes.dicom.read_seg import spread
from dpcenet.volumes.dicom.rtstruct import read_rtstruct
from dpcenet.volumes.io import read_volume, suffix_of
from dpcenet.volumes.mask_files import MaskFile, OrganMasks
from dpcenet.volumes.organ_masks import Part, masks_in, merged
from dpcenet.volumes.pictures import is_picture, missing_in, natural, pictures_in, stack_of
from dpcenet.volumes.scan_file import AS_IT_IS, SPLIT, Facts, ReadOptions, ScanFile, SourceGrid
from dpcenet.volumes.size_guards import MAX_BYTES

_ONE_MAP = (
    "Save the labels as one map of whole numbers, or as a file for each organ; --echo takes one "
    "of the volumes."
)


def read_mask(
    mask: MaskFile, image: ScanFile, max_bytes: int = MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read the mask of a scan, or its masks of single organs.

    Formats that are segmentations by themselves (DICOM SEG, .seg.nrrd) may cover a part of the
    scan and are spread over its grid; outlines (RTSTRUCT) are filled on it; pictures take the place
    of the scan's slices. Other files are label maps: `check_mask` says whether they lie on the
    scan. A folder may hold one SEG, one RTSTRUCT, or pictures.

    Args:
        path: a file or a folder.
        image: the scan.
        max_bytes: cap on the voxels.
        options: which volume of a 4-D file.

    Returns:
        labels (Z, Y, X), with their names and codes where the file has them.

    Raises:
        VolumeError: it cannot be used; the message says why.
    """
    if isinstance(mask, OrganMasks):
        return merged(list(_parts(mask, image, max_bytes, options)), image)
    return _read_one(mask, image, max_bytes, options)


def _parts(
    masks: OrganMasks, image: ScanFile, max_bytes: int, options: ReadOptions
) -> Iterator[Part]:
    values = masks.values or (None,) * len(masks.files)
    for path, name, value in zip(masks.files, masks.names, values, strict=True):
        yield Part(path, name, _read_one(path, image, max_bytes, options), value)


def _read_one(path: Path, image: ScanFile, max_bytes: int, options: ReadOptions) -> ScanFile:
    if path.is_dir():
        found = find_segmentation(path)
        if found is None and pictures_in(path):
            return _from_pictures(path, image, max_bytes)
        organs = masks_in(path) if found is None else None
        if organs is not None:
            return read_mask(organs, image, max_bytes, options)
        if found is None and not find_series(path):
            expected = "a file of labels, one for each organ, or a picture for each slice"
            raise VolumeError(path, "no mask lies in this folder", expected, "Check the path.")
        path = found or path
    elif is_picture(path) and path.is_file():
        return _from_pictures(path, image, max_bytes)
    kind = kind_of(path)
    known = (SEGMENTATION, LABEL_MAP, STRUCTURES)
    doubts = doubts_of_origin(path, image.files[0]) if image.files and kind in known else ()
    if kind == STRUCTURES:
        filled = read_rtstruct(path, image)
        return replace(filled, facts=filled.facts.noting(*doubts))
    try:
        mask = read_volume(path, max_bytes, options)
    except VolumeError as error:
        if error.remedy != SPLIT:
            raise
        raise VolumeError(path, error.found, "one label map", _ONE_MAP) from error
    if kind in (SEGMENTATION, LABEL_MAP) or suffix_of(path) == ".seg.nrrd":
        volume = spread(mask.volume, image.volume, path)
        return ScanFile(volume, SourceGrid.of(volume), facts=mask.facts.noting(*doubts))
    return mask


def _from_pictures(path: Path, image: ScanFile, max_bytes: int) -> ScanFile:
    """Pictures of a mask: as many as the scan has slices, in the order of the slices' files."""
    planes = stack_of(path, max_bytes)
    shape = image.volume.data.shape
    if planes.shape != shape:
        found = f"pictures of {planes.shape} pixels, and the scan is {shape}"
        raise VolumeError(
            path, found, "a picture for each slice", "Check that they belong together."
        )
    if image.files:  # named like the slices, which may run from head to feet
        names = sorted(dict.fromkeys(image.files), key=lambda file: natural(str(file)))
        if len(names) != len(planes):
            found = "the scan is one file of many frames"
            raise VolumeError(path, found, "a file for each slice", "Save the mask as .nii.gz.")
        planes = planes[[names.index(file) for file in image.files]]
        note = "pictures taken for the scan's slices in the order of their file names"
    else:
        note = "pictures taken for the scan's slices in the order of its array"
    volume = Volume(np.ascontiguousarray(planes), image.volume.affine)
    missing = missing_in(pictures_in(path)) if path.is_dir() else []
    return ScanFile(volume, SourceGrid.of(volume), facts=Facts(notes=(note, *missing)))
