"""DICOM files for tests, made by pydicom: enhanced ones, and changes of plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage

from dpcenet.types import Volume
from raw_layouts import dicom_slice


def change(path: Path, **values: object) -> None:
    """Set attributes of a file; None removes one."""
    file = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    file.save_as(path)


def write_enhanced(
    volume: Volume, path: Path, order: Sequence[int], rescale: tuple[float, float] | None = None
) -> FileDataset:
    """One file of many frames; frame k holds slice order[k]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [dicom_slice(volume, z, 0) for z in order]
    file = plain[0]
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = EnhancedMRImageStorage
    file.NumberOfFrames = len(order)
    file.PixelData = b"".join(each.PixelData for each in plain)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=file.PixelSpacing, SliceThickness=4.0)]
    orientation = _item(ImageOrientationPatient=file.ImageOrientationPatient)
    shared.PlaneOrientationSequence = [orientation]
    if rescale is not None:
        values = _item(RescaleSlope=rescale[0], RescaleIntercept=rescale[1], RescaleType="US")
        shared.PixelValueTransformationSequence = [values]
    file.SharedFunctionalGroupsSequence = [shared]
    file.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=each.ImagePositionPatient)])
        for each in plain
    ]
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(file, name)
    file.save_as(path, enforce_file_format=True)
    return file


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def at_lps(volume: Volume, place: np.ndarray) -> np.ndarray:
    """Values of a volume at LPS mm positions (N, 3) that are centres of its voxels."""
    ras = np.c_[place * (-1, -1, 1), np.ones(len(place))]
    index = (ras @ np.linalg.inv(volume.affine).T)[:, :3]
    nearest = np.rint(index).astype(int)
    np.testing.assert_allclose(index, nearest, atol=1e-4)
    return volume.data[tuple(nearest.T)]
