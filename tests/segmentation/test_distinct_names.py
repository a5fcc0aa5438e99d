"""Equal file names and equal folder names give results of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_queries import scan

from dpcenet.segmentation.queries import find_queries
from raw_layouts import made_case, write_dicom


def names(*paths: object) -> list[str]:
    return [str(query.mask_name) for query in find_queries([str(path) for path in paths])]


def test_equal_stems_of_several_folders(tmp_path: Path) -> None:
    for place in ("x/p/a.nii.gz", "y/p/a.nii.gz", "y/p/b.nii"):
        scan(tmp_path / place, seed=len(place))
    files = [tmp_path / name for name in ("x/p/a.nii.gz", "y/p/a.nii.gz", "y/p/b.nii")]
    expected = ["x/p/a_seg.nii.gz", "y/p/a_seg.nii.gz", "b_seg.nii"]
    assert names(*files) == expected
    assert names(tmp_path / "x", tmp_path / "y")[:2] == expected[:2]
    assert names(files[0], files[2]) == ["a_seg.nii.gz", "b_seg.nii"]


def test_equal_stems_in_one_folder(tmp_path: Path) -> None:
    scan(tmp_path / "a.nii")
    scan(tmp_path / "a.nii.gz")
    scan(tmp_path / "a_nii_gz.nii")
    found = [query.name.name for query in find_queries([tmp_path])]
    assert len(set(found)) == 3 and "a" in found


def test_equal_folder_names_of_dicom(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    for patient in "AB":
        write_dicom(made_case(shape=(4, 12, 10))[0], tmp_path / patient / "DICOM")
    expected = ["A/DICOM/DICOM_seg.dcm", "B/DICOM/DICOM_seg.dcm"]
    assert names(tmp_path / "A" / "DICOM", tmp_path / "B" / "DICOM") == expected
    assert names(f"{tmp_path}/*/DICOM") == expected


def test_a_scan_by_two_ways_is_one_and_no_result_leaves_its_folder(tmp_path: Path) -> None:
    for place in ("x/a.nii.gz", "y/a.nii.gz"):
        scan(tmp_path / place)
    around = f"{tmp_path}/x/../x/a.nii.gz"
    assert names(tmp_path / "x/a.nii.gz", around) == ["a_seg.nii.gz"]
    assert names(around, tmp_path / "x") == ["a_seg.nii.gz"]
    assert names(around, tmp_path / "y/../y/a.nii.gz") == ["x/a_seg.nii.gz", "y/a_seg.nii.gz"]
    inside = tmp_path / "x/deep/a.nii.gz"
    scan(inside)
    assert names(tmp_path / "x/a.nii.gz", f"{tmp_path}/x/deep/../deep/a.nii.gz") == [
        "a_seg.nii.gz",
        "deep/a_seg.nii.gz",
    ]
    (tmp_path / "loop").symlink_to("loop")
    assert names(tmp_path / "loop/a.nii.gz") == ["a_seg.nii.gz"]  # reading it says what is wrong
