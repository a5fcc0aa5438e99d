"""Labels that preparing loses, or that lie in place of the background, are named."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.data.datasets.folder import SPEC
from dpcenet.data.datasets.spec import SourceCase
from dpcenet.data.doctor.examine import examine
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


@pytest.mark.parametrize("kind", ["from 1", "inverted", "right", "a corner"])
def test_a_label_in_place_of_the_background_is_named(tmp_path: Path, kind: str) -> None:
    ((image, mask),) = write_scans(tmp_path, 1)
    file = nibabel.load(mask)
    data = np.asarray(file.dataobj).astype(np.uint8)
    corner = data.copy()
    corner[0, 0, 0] = 9
    changed = {"from 1": data + 1, "inverted": 5 * (data == 0), "right": data, "a corner": corner}
    drawn = nibabel.Nifti1Image(changed[kind].astype(np.uint8), file.affine)
    nibabel.save(drawn, tmp_path / "organs.nii.gz")
    notes = quick_segmenter().support([image], [tmp_path / "organs.nii.gz"]).notes
    value = {"from 1": 1, "inverted": 5}.get(kind)
    said = [text for text in notes if "if it is the background" in text]
    assert len(said) == (value is not None)
    assert all(f"organs.nii.gz: label {value} fills " in text for text in said)
    case = SourceCase("a", image, tmp_path / "organs.nii.gz")
    assert len([n for n in examine(case, SPEC).notes if "background" in n]) == len(said)


def test_a_label_where_the_scan_is_empty_is_named(tmp_path: Path) -> None:
    ((image, mask),) = write_scans(tmp_path, 1)
    file, label = nibabel.load(image), np.asarray(nibabel.load(mask).dataobj)
    scan = np.asarray(file.dataobj).copy()
    scan[label == 2] = scan.min()
    nibabel.save(nibabel.Nifti1Image(scan, file.affine), tmp_path / "cut.nii.gz")
    support = quick_segmenter().support([tmp_path / "cut.nii.gz"], [mask])
    (note,) = [text for text in support.notes if "its lowest value" in text]
    assert "label_01.nii.gz: 100% of label 2 lie where" in note
    assert not any("lowest" in text for text in quick_segmenter().support([image], [mask]).notes)


def test_labelled_scans_that_are_unlike_the_first_are_named(tmp_path: Path) -> None:
    """All of them are prepared as the first one is."""
    (first, second) = write_scans(tmp_path, 2)
    file, label = nibabel.load(second[0]), nibabel.load(second[1])
    in_hu = np.asarray(file.dataobj).astype(np.float32) - 1000
    turned = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]) @ file.affine
    for name, voxels, affine in (("ct", in_hu, file.affine), ("other", file.dataobj, turned)):
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii.gz")
        mask = nibabel.Nifti1Image(np.asarray(label.dataobj), affine)
        nibabel.save(mask, tmp_path / f"{name}_labels.nii.gz")
    for name, said in (("ct", "looks like CT"), ("other", "another plane")):
        images = [first[0], tmp_path / f"{name}.nii.gz"]
        masks = [first[1], tmp_path / f"{name}_labels.nii.gz"]
        notes = quick_segmenter().support(images, masks).notes
        assert [said in text and f"{name}.nii.gz: " in text for text in notes] == [True]
    assert not quick_segmenter().support([first[0], second[0]], [first[1], second[1]]).notes
