"""DICOM series, written by pydicom, oblique and anisotropic."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import HTJ2KLossless, RLELossless  # noqa: E402

from dicoms import change  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402


@pytest.fixture
def image():
    return made_case()[0]


def test_slices_are_sorted_by_place_not_by_name(image, tmp_path):
    files = write_dicom(image, tmp_path, order=[3, 0, 5, 1, 4, 2])
    series = read_series(tmp_path)
    np.testing.assert_array_equal(series.volume.data, image.data)
    np.testing.assert_allclose(series.volume.affine, image.affine, atol=1e-6)
    assert series.files == tuple(files[k] for k in (1, 3, 5, 0, 4, 2))


def test_simpleitk_places_the_same_voxels_there(image, tmp_path):
    write_dicom(image, tmp_path)
    volume = read_series(tmp_path).volume
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    other = sitk.ReadImage(names)
    z, y, x = 4, 30, 11
    place = volume.affine @ (z, y, x, 1)
    index = other.TransformPhysicalPointToIndex((-place[0], -place[1], place[2]))
    assert other[index] == volume.data[z, y, x] != 0


def test_slope_and_intercept(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        change(path, RescaleSlope=2.0, RescaleIntercept=-1000.0)
    data = read_series(tmp_path).volume.data
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, image.data * 2.0 - 1000)


def test_each_slice_has_its_own_slope(image, tmp_path):
    for z, path in enumerate(write_dicom(image, tmp_path)):
        change(path, RescaleSlope=float(z + 1), RescaleIntercept=0.0)
    data = read_series(tmp_path).volume.data
    np.testing.assert_array_equal(data, image.data * np.arange(1, 7)[:, None, None])


def test_slices_stored_in_two_types_keep_their_values(image, tmp_path):
    paths = write_dicom(image, tmp_path)
    change(paths[3], PixelRepresentation=0)  # all values are above 0 there
    image.data[3] = abs(image.data[3])
    change(paths[3], PixelData=image.data[3].tobytes())
    data = read_series(tmp_path).volume.data
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, image.data)


@pytest.mark.parametrize("values", [{}, {"RescaleSlope": 2.0, "RescaleIntercept": -1000.0}])
def test_monochrome1_is_turned_as_simpleitk_turns_it(image, tmp_path, values):
    for path in write_dicom(image, tmp_path):
        change(path, PhotometricInterpretation="MONOCHROME1", **values)
    scan = read_series(tmp_path)
    theirs = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in scan.files]
    np.testing.assert_array_equal(scan.volume.data, np.stack(theirs))
    middle = image.data[3] > 300
    assert scan.volume.data[3][middle].mean() < scan.volume.data[3][~middle].mean()


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]
)
def test_compressed_slices(image, tmp_path, syntax):
    """Written by GDCM, as scanners and archives store them."""
    gdcm = pytest.importorskip("gdcm", reason="the extra `dicom` is not installed")
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
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)


def recode(path: Path, syntax: str, frame: bytes, **values: object) -> None:
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([frame])
    file["PixelData"].VR = "OB"
    for name, value in values.items():
        setattr(file, name, value)
    file.save_as(path)


def test_a_compression_that_cannot_be_read_is_named(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        recode(path, HTJ2KLossless, b"\xff\x4f" + bytes(100))
    with pytest.raises(VolumeError, match=r"compressed as High-Throughput JPEG 2000.*Decompress"):
        read_series(tmp_path)


def test_damaged_compressed_pixels_are_named(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        recode(path, RLELossless, bytes(range(128)) * 2)
    with pytest.raises(VolumeError, match=r"IMG-0004-00001.dcm: the pixels, compressed as RLE"):
        read_series(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_claims_more_than_its_files_hold(image, tmp_path, packed):
    for path in write_dicom(image, tmp_path):
        if packed:
            recode(path, RLELossless, bytes(64), Rows=15_000, Columns=15_000)
        else:
            change(path, Rows=15_000, Columns=15_000, PixelData=bytes(64))
    with pytest.raises(VolumeError, match=r"claims 2,700,000,000 bytes .* holds at most"):
        read_series(tmp_path)


def test_a_missing_slice_is_named(image, tmp_path):
    write_dicom(image, tmp_path)[2].unlink()
    with pytest.raises(
        VolumeError, match=r"12\.00 mm between IMG-0004-00002.dcm and IMG-0004-00004.dcm, else"
    ):
        read_series(tmp_path)


def test_a_file_that_is_there_twice_is_taken_once(image, tmp_path):
    files = write_dicom(image, tmp_path)
    (tmp_path / "again.dcm").write_bytes(files[0].read_bytes())
    scan = read_series(tmp_path)
    np.testing.assert_array_equal(scan.volume.data, image.data)
    assert scan.files[0].name == "IMG-0004-00001.dcm"
    assert scan.facts.notes == ("left aside: 1 file with a slice that was there already",)


def test_one_slice_in_two_versions_is_refused(image, tmp_path):
    files = write_dicom(image, tmp_path)
    (tmp_path / "again.dcm").write_bytes(files[0].read_bytes())
    change(tmp_path / "again.dcm", PixelData=(image.data[0] + 1).tobytes())
    with pytest.raises(VolumeError, match=r"00001.dcm and again.dcm are the same slice with other"):
        read_series(tmp_path)


def sent_again(image, folder, **values):
    """A second object for each slice, with other attributes."""
    for number, path in enumerate(write_dicom(image, folder)):
        twin = path.with_name(f"second-{path.name}")
        twin.write_bytes(path.read_bytes())
        change(twin, SOPInstanceUID=f"1.2.4.{number}", **values)
        yield number, path, twin


def test_a_series_sent_twice_is_taken_once(image, tmp_path):
    list(sent_again(image, tmp_path))
    scan = read_series(tmp_path)
    np.testing.assert_array_equal(scan.volume.data, image.data)
    assert {path.name[:4] for path in scan.files} == {"IMG-"}


def test_two_slices_at_one_place(image, tmp_path):
    """Nothing in the headers says which volume a slice is of."""
    for number, _, twin in sent_again(image, tmp_path):
        change(twin, PixelData=(image.data[number] + 1).tobytes())
    with pytest.raises(VolumeError, match=r"7 or more slices at one place.*second echo, phase"):
        read_series(tmp_path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelSpacing": [1.5, 1.5]}, "another size or spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "another direction"),
        ({"NumberOfFrames": 3}, r"several frames \(3\) without a place each"),
        ({"NumberOfFrames": 10**9}, r"several frames \(1000000000\) without"),
        ({"SamplesPerPixel": 3}, "coloured"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"coloured \(PALETTE COLOR\)"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME2 as in"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "as the header says"),
        ({"PixelData": bytes(3 * 2 * 48 * 40)}, "11,520 bytes of pixels"),
        ({"PixelData": None}, "the pixels cannot be read"),
        ({"PixelData": b"\0" * 10}, "the pixels cannot be read"),
        ({"Rows": None}, "no Rows"),
        ({"PixelSpacing": None}, "no PixelSpacing"),
        ({"ImagePositionPatient": None}, "no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "no ImageOrientationPatient"),
        ({"PixelSpacing": [0, 1.6]}, "above 0"),
        ({"PixelSpacing": [-1.4, 1.6]}, "above 0"),
        ({"PixelSpacing": "nan\\1.6"}, "2 finite numbers"),
        ({"PixelSpacing": [1.4]}, "2 finite numbers"),
        ({"ImagePositionPatient": "1\\2\\inf"}, "3 finite numbers"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "two unit vectors"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "the slope not 0"),
        ({"RescaleSlope": "inf"}, "slope and intercept are"),
    ],
)
def test_a_slice_that_does_not_fit_is_named(image, tmp_path, values, message):
    change(write_dicom(image, tmp_path)[3], **values)
    with pytest.raises(VolumeError, match=message) as error:
        read_series(tmp_path)
    assert "IMG-0004-00004.dcm" in str(error.value)


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_a_few_bytes_behind_the_pixels_are_padding(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        change(path, PixelData=pydicom.dcmread(path).PixelData + bytes(6))
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)


def test_what_lies_behind_the_pixels_is_not_read(image, tmp_path):
    """Rubbish that would be an attribute of gigabytes."""
    for path in write_dicom(image, tmp_path):
        path.write_bytes(path.read_bytes() + b"\xe0\x7f\x11\x00OB\0\0\xf0\xff\xff\x7f" + b"x" * 50)
    tracemalloc.start()
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_a_wrong_name_of_the_encoding_moves_no_pixel(image, tmp_path):
    """Explicit files that call themselves implicit: the pixels would begin 4 bytes too early."""
    for path in write_dicom(image, tmp_path):
        explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2".ljust(20, b"\0")
        content = path.read_bytes()
        assert content.count(explicit) == 1
        path.write_bytes(content.replace(explicit, implicit))
    with pytest.warns(UserWarning, match="found explicit VR"):
        np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)


def test_big_endian_becomes_the_machines_own(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        file = pydicom.dcmread(path)
        file.PixelData = np.frombuffer(file.PixelData, "<i2").astype(">i2").tobytes()
        file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(path, file, implicit_vr=False, little_endian=False, force_encoding=True)
    data = read_series(tmp_path).volume.data
    assert data.dtype.isnative
    np.testing.assert_array_equal(data, image.data)


def test_a_slice_in_another_direction_is_no_copy(image, tmp_path):
    """A scout with the same place and pixels."""
    turned = pydicom.dcmread(write_dicom(image, tmp_path)[2])
    turned.SOPInstanceUID, turned.ImageOrientationPatient = "1.2.3.77", [0, 1, 0, 0, 0, -1]
    turned.save_as(tmp_path / "scout.dcm")
    with pytest.raises(VolumeError, match=r"scout\.dcm.* another direction|00001\.dcm.* another"):
        read_series(tmp_path)


def test_absurd_spacings_of_all_slices(image, tmp_path):
    for path in write_dicom(image, tmp_path):
        change(path, PixelSpacing=[1e9, 1e9])
    with pytest.raises(VolumeError, match="singular"):
        read_series(tmp_path)


def test_a_slice_beside_the_others(image, tmp_path):
    path = write_dicom(image, tmp_path)[2]
    file = pydicom.dcmread(path)
    shift = np.array(file.ImageOrientationPatient[:3], float) * 7
    change(path, ImagePositionPatient=(np.array(file.ImagePositionPatient, float) + shift).tolist())
    with pytest.raises(VolumeError, match=r"00003.dcm: it lies 7\.00 mm beside the line"):
        read_series(tmp_path)


def test_a_tilted_gantry(image, tmp_path):
    for z, path in enumerate(write_dicom(image, tmp_path)):
        file = pydicom.dcmread(path)
        shift = np.array(file.ImageOrientationPatient[3:], float) * 6 * np.tan(np.radians(12)) * z
        place = np.array(file.ImagePositionPatient, float) + shift
        change(path, ImagePositionPatient=place.round(9).tolist())
    with pytest.raises(VolumeError, match=r"sheared by 12\.0° \(a tilted gantry\)"):
        read_series(tmp_path)


def test_a_file_cut_short(image, tmp_path):
    path = write_dicom(image, tmp_path)[1]
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(VolumeError, match="IMG-0004-00002"):
        read_series(tmp_path)


def test_one_slice_is_no_volume(image, tmp_path):
    for path in write_dicom(image, tmp_path)[1:]:
        path.unlink()
    with pytest.raises(VolumeError, match="1 DICOM slice; expected a series of two or more"):
        read_series(tmp_path)


def test_the_cap_on_voxels(image, tmp_path):
    write_dicom(image, tmp_path)
    with pytest.raises(VolumeError, match="at most 1,000"):
        read_series(tmp_path, max_bytes=1000)
