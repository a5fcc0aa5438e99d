"""DICOM series, written by pydicom, oblique and anisotropic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dpcenet.errors import VolumeError
from dpcenet.volumes.dicom import read_series
from raw_layouts import made_case, write_dicom


@pytest.fixture
def image():
    return made_case()[0]


def change(path: Path, **values: object) -> None:
    file = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(file, name, value)
    file.save_as(path)


def test_slices_are_sorted_by_place_not_by_name(image, tmp_path):
    files = write_dicom(image, tmp_path, order=[3, 0, 5, 1, 4, 2])
    series = read_series(tmp_path)
    np.testing.assert_array_equal(series.scan.volume.data, image.data)
    np.testing.assert_allclose(series.scan.volume.affine, image.affine, atol=1e-6)
    assert series.files == tuple(files[k] for k in (1, 3, 5, 0, 4, 2))


def test_simpleitk_places_the_same_voxels_there(image, tmp_path):
    import SimpleITK as sitk

    write_dicom(image, tmp_path)
    volume = read_series(tmp_path).scan.volume
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    other = sitk.ReadImage(names)
    z, y, x = 4, 30, 11
    place = volume.affine @ (z, y, x, 1)
    index = other.TransformPhysicalPointToIndex((-place[0], -place[1], place[2]))
    assert other[index] == volume.data[z, y, x] != 0


def test_slope_and_intercept(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        change(path, RescaleSlope=2.0, RescaleIntercept=-1000.0)
    data = read_series(tmp_path).scan.volume.data
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, image.data * 2.0 - 1000)


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]
)
def test_compressed_slices(image, tmp_path, syntax):
    """Written by GDCM, as scanners and archives store them."""
    import gdcm

    for path in write_dicom(image, tmp_path):
        reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change_syntax = gdcm.ImageChangeTransferSyntax()
        change_syntax.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change_syntax.SetInput(reader.GetImage())
        assert change_syntax.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change_syntax.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_series(tmp_path).scan.volume.data, image.data)


def test_other_files_are_left_aside(image, tmp_path):
    write_dicom(image, tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x" * 300)
    (tmp_path / "readme.txt").write_text("not DICOM")
    assert read_series(tmp_path).scan.volume.data.shape == image.data.shape


def test_a_missing_slice_is_named(image, tmp_path):
    write_dicom(image, tmp_path)[2].unlink()
    with pytest.raises(
        VolumeError, match=r"12\.00 mm between IMG-0004-00002.dcm and IMG-0004-00004.dcm, else"
    ):
        read_series(tmp_path)


def test_a_slice_that_is_there_twice(image, tmp_path):
    files = write_dicom(image, tmp_path)
    (tmp_path / "again.dcm").write_bytes(files[0].read_bytes())
    with pytest.raises(VolumeError, match=r"0\.00 mm between"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"SeriesInstanceUID": "1.2.3.200"}, "2 series in one folder"),
        ({"PixelSpacing": [1.5, 1.5]}, "another size or spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "another direction"),
        ({"NumberOfFrames": 3}, "several frames"),
        ({"PixelData": b"\0" * 10}, "the pixels cannot be read"),
    ],
)
def test_a_slice_that_does_not_fit_is_named(image, tmp_path, values, message):
    change(write_dicom(image, tmp_path)[3], **values)
    with pytest.raises(VolumeError, match=message):
        read_series(tmp_path)


def test_a_file_cut_short(image, tmp_path):
    path = write_dicom(image, tmp_path)[1]
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(VolumeError, match="IMG-0004-00002"):
        read_series(tmp_path)


def test_no_series(tmp_path):
    with pytest.raises(VolumeError, match="0 DICOM slices"):
        read_series(tmp_path)
    with pytest.raises(VolumeError, match="0 DICOM slices"):
        read_series(tmp_path / "nowhere")


def test_the_cap_on_voxels(image, tmp_path):
    write_dicom(image, tmp_path)
    with pytest.raises(VolumeError, match="at most 1,000"):
        read_series(tmp_path, max_bytes=1000)
