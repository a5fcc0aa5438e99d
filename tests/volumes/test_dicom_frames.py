"""Enhanced DICOM: one file of many frames."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from dicoms import write_enhanced  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from dpcenet.volumes.io import read_volume  # noqa: E402
from raw_layouts import made_case  # noqa: E402

ORDER = [3, 0, 5, 1, 4, 2]


@pytest.fixture
def image():
    return made_case()[0]


def test_frames_are_sorted_by_place(image, tmp_path):
    write_enhanced(image, tmp_path / "enhanced", ORDER)
    for path in (tmp_path, tmp_path / "enhanced"):
        scan = read_volume(path)
        np.testing.assert_array_equal(scan.volume.data, image.data)
        np.testing.assert_allclose(scan.volume.affine, image.affine, atol=1e-6)
        assert set(scan.files) == {tmp_path / "enhanced"} and len(scan.files) == 6


def test_simpleitk_reads_the_same_stack(image, tmp_path):
    """GDCM trusts the order of the frames, so these are in order."""
    write_enhanced(image, tmp_path / "e.dcm", range(6))
    ours, theirs = read_series(tmp_path).volume, sitk.ReadImage(str(tmp_path / "e.dcm"))
    np.testing.assert_array_equal(ours.data, sitk.GetArrayFromImage(theirs))
    for index in ((0, 0, 0), (5, 47, 39)):
        ras = ours.affine @ (*index, 1)
        place = theirs.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(place, ras[:3] * (-1, -1, 1), atol=1e-4)


def test_slope_and_intercept_of_all_frames(image, tmp_path):
    write_enhanced(image, tmp_path / "e.dcm", ORDER, rescale=(0.5, -3.0))
    data = read_series(tmp_path).volume.data
    np.testing.assert_array_equal(data, image.data * 0.5 - 3)


def spoil(path, how):
    file = pydicom.dcmread(path)
    how(file)
    file.save_as(path)


def twice(file):
    frames = file.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence


def no_place(file):
    del file.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence


def more_frames(file):
    file.NumberOfFrames = 10**9


def cut_short(file):
    file.PixelData = file.PixelData[:100]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (twice, "2 or more slices at one place, such as frames 1 and 2 of e.dcm"),
        (no_place, "no ImagePositionPatient"),
        (more_frames, "1,000,000,000 frames, 6 of them described"),
        (cut_short, "claims 23,040 bytes"),
    ],
)
def test_frames_that_make_no_volume(image, tmp_path, how, message):
    write_enhanced(image, tmp_path / "e.dcm", range(6))
    spoil(tmp_path / "e.dcm", how)
    with pytest.raises(VolumeError, match=message):
        read_series(tmp_path)
