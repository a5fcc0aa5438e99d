"""Findings of one scan: its orientation, and what is unlikely in its geometry."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.data.datasets.folder import SPEC
from dpcenet.data.datasets.spec import SourceCase
from dpcenet.data.doctor.examine import CaseReport, examine


def examined(path: Path, affine: object, swap: bool = False) -> CaseReport:
    """The report of a NIfTI file of 12·10·6 voxels along x, y and z."""
    voxels = np.random.default_rng(0).normal(size=(12, 10, 6)).astype(np.float32)
    if swap:
        voxels[0, 0, [0, 1]] = voxels[0, 0, [1, 0]]
    nibabel.save(nibabel.Nifti1Image(voxels, np.asarray(affine, float)), path)
    return examine(SourceCase("a", path, None), SPEC)


@pytest.mark.parametrize(
    ("signs", "letters"), [((1, 1, 1), "RAS"), ((-1, -1, 1), "LPS"), ((-1, 1, -1), "LAI")]
)
def test_letters_are_the_directions_of_the_files_axes(
    tmp_path: Path, signs: tuple[int, int, int], letters: str
) -> None:
    report = examined(tmp_path / "a.nii", np.diag([*np.multiply(signs, (1.5, 2, 4)), 1]))
    assert report.orientation == letters
    assert report.spacing == (4, 2, 1.5) and report.shape == (6, 10, 12)
    assert report.oblique_deg == 0 and report.notes == report.errors == ()


def test_the_angle_of_an_oblique_scan(tmp_path: Path) -> None:
    c, s = np.cos(np.radians(25)), np.sin(np.radians(25))
    affine = [[2 * c, -2 * s, 0, 0], [2 * s, 2 * c, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]
    report = examined(tmp_path / "a.nii", affine)
    assert report.oblique_deg == pytest.approx(25, abs=0.01)
    assert report.notes == ("oblique by 25.0°; slices are kept in their own plane",)


def test_two_voxels_swapped_are_another_scan(tmp_path: Path) -> None:
    first, again, other = (
        examined(tmp_path / f"{name}.nii", np.diag([1, 1, 4, 1]), swap).voxels_hash
        for name, swap in (("a", False), ("b", False), ("c", True))
    )
    assert first == again != other


def test_a_file_that_is_no_scan_is_an_error_of_its_report(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"no scan")
    report = examine(SourceCase("a", path, None), SPEC)
    assert len(report.errors) == 1 and str(path) in report.errors[0]
