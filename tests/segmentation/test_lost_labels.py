"""A label of a few stray voxels that preparing loses is named."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from dpcenet.segmentation.labelled_files import lost_labels
from made_scans import quick_segmenter, write_scans


def test_a_stray_voxel_is_named(tmp_path: Path) -> None:
    ((image, mask),) = write_scans(tmp_path, 1)
    file = nibabel.load(mask)
    data = np.asarray(file.dataobj).copy()
    fine = np.kron(data, np.ones((4, 4, 1), np.uint8))  # a grid four times as fine
    scan = nibabel.load(image)
    affine = file.affine @ np.diag([0.25, 0.25, 1.0, 1.0])
    intensities = np.kron(np.asarray(scan.dataobj), np.ones((4, 4, 1), np.int16))
    fine[1, 1, 1] = 9
    nibabel.save(nibabel.Nifti1Image(intensities, affine), tmp_path / "fine.nii.gz")
    nibabel.save(nibabel.Nifti1Image(fine, affine), tmp_path / "organs.nii.gz")
    support = quick_segmenter().support([tmp_path / "fine.nii.gz"], [tmp_path / "organs.nii.gz"])
    (note,) = (text for text in support.notes if "too small" in text)
    assert "organs.nii.gz" in note and "label 9 " in note
    assert lost_labels([1, 2], np.array([[[0, 1], [2, 2]]], np.uint8)) == []
