"""Which files of a folder are scans, in which order; `test_queries.py` tests the names of masks."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.volumes.find_scans import find_scans, named_like_mask


def save(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)


SCAN = np.random.default_rng(0).integers(0, 900, (6, 6, 3)).astype(np.int16)
MASK = (SCAN > 450).astype(np.uint8)


def found(folder: Path, skip: Path | None = None) -> list[str]:
    return [str(Path(str(scan)).relative_to(folder)) for scan in find_scans(folder, skip)]


def test_files_come_before_subfolders_each_by_name(tmp_path: Path) -> None:
    for name in ("b.nii", "a/z.nii", "c.nii", "a/y/x.nii"):
        save(tmp_path / name, SCAN)
    assert found(tmp_path) == ["b.nii", "c.nii", "a/z.nii", "a/y/x.nii"]


def test_masks_hidden_files_and_the_skipped_folder_are_left_out(tmp_path: Path) -> None:
    for name in ("t1.nii", ".hidden.nii", "masks/scan.nii", "out/t1_x.nii"):
        save(tmp_path / name, SCAN)
    for name in ("t1_mask.nii", "masks/t1.nii", "plain.nii"):
        save(tmp_path / name, MASK)
    (tmp_path / "link").symlink_to(tmp_path / "masks")
    (tmp_path / "seg.nii").write_bytes(b"damaged, and named like a mask")
    # Without a name that says so, few whole numbers do not make a mask.
    assert found(tmp_path, skip=tmp_path / "out") == ["plain.nii", "t1.nii", "masks/scan.nii"]


def test_beside_images_labels_are_masks_whatever_they_hold(tmp_path: Path) -> None:
    save(tmp_path / "image_1.nii", SCAN)
    save(tmp_path / "label_1.nii", SCAN)
    assert found(tmp_path) == ["image_1.nii"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("liver_mask.nii", True),
        ("labelsTr", True),
        ("T1-seg.nii", True),
        ("GT", True),
        ("segovia.nii", False),
        ("unmasked.nii", False),
    ],
)
def test_words_that_say_mask(name: str, expected: bool) -> None:
    assert named_like_mask(name) is expected
