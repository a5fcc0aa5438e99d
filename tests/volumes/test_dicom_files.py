"""Which series lie in a folder, and what is left aside there."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from pydicom.uid import (  # noqa: E402
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicoms import change  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.volumes.dicom.find_series import find_series  # noqa: E402
from dpcenet.volumes.dicom.headers import is_dicom, is_segmentation  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from dpcenet.volumes.io import read_volume  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402


@pytest.fixture
def image():
    return made_case()[0]


def add_series(image, folder, number, description, shift=0.0):
    """A second series in a folder, its files beside those of the first."""
    paths = write_dicom(image, folder / "moved")
    for count, path in enumerate(paths):
        file = pydicom.dcmread(path)
        place = np.add(np.array(file.ImagePositionPatient, float), (0, 0, shift))
        change(
            path,
            SeriesInstanceUID=f"1.2.3.{number}",
            SOPInstanceUID=f"1.2.3.{number}.{count + 1}",
            SeriesNumber=number,
            SeriesDescription=description,
            ImagePositionPatient=place.tolist(),
        )
        path.rename(folder / f"{number}-{path.name}")
    (folder / "moved").rmdir()


def as_other(path, kind, **values):
    file = pydicom.dcmread(path)
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = kind
    for name, value in values.items():
        setattr(file, name, value)
    file.save_as(path)


def test_other_files_are_left_aside(image, tmp_path):
    files = write_dicom(image, tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x" * 300)
    (tmp_path / "readme.txt").write_text("not DICOM")
    (tmp_path / "below").mkdir()
    for name in ("seg", "struct", "capture", "scout"):
        (tmp_path / f"{name}.dcm").write_bytes(files[0].read_bytes())
    as_other(tmp_path / "seg.dcm", SegmentationStorage)
    as_other(tmp_path / "struct.dcm", RTStructureSetStorage)
    change(tmp_path / "capture.dcm", ImagePositionPatient=None)
    as_other(tmp_path / "capture.dcm", SecondaryCaptureImageStorage)
    change(tmp_path / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (series,) = find_series(tmp_path)
    assert series.files == tuple(files)
    assert series.name == tmp_path.name and series.referable
    assert read_series(tmp_path).volume.data.shape == image.data.shape
    with pytest.raises(VolumeError, match=r"struct\.dcm: this is no slice of a scan"):
        read_volume(tmp_path / "struct.dcm")
    assert is_segmentation(tmp_path / "seg.dcm") and not is_segmentation(files[0])


def test_names_without_dcm(image, tmp_path):
    for number, path in enumerate(write_dicom(image, tmp_path)):
        path.rename(tmp_path / f"IM{number:04d}")
    np.testing.assert_array_equal(read_volume(tmp_path).volume.data, image.data)
    np.testing.assert_array_equal(read_volume(tmp_path / "IM0003").volume.data, image.data)
    assert is_dicom(tmp_path / "IM0003") and not is_dicom(tmp_path)


def test_each_series_of_a_mixed_folder_by_itself(image, tmp_path):
    folder = tmp_path / "patient 7"
    write_dicom(image, folder)
    add_series(image, folder, 4, "T1/../../etc", shift=20.0)
    two, one = find_series(folder)  # in the order of their files' names
    assert (one.name, two.name) == ("patient_7_series", "patient_7_4_T1_.._.._etc")
    assert "/" not in two.name
    lower, higher = read_series(one).volume, read_series(two).volume
    np.testing.assert_array_equal(lower.data, higher.data)
    np.testing.assert_allclose((higher.affine - lower.affine)[:3, 3], (0, 0, 20.0))


def test_series_of_the_same_name_are_told_apart(image, tmp_path):
    for number in (4, 5):
        add_series(image, tmp_path, number, "T1")
        for path in tmp_path.glob(f"{number}-*"):
            change(path, SeriesNumber=9)
    names = {series.name for series in find_series(tmp_path)}
    assert len(names) == 2


def test_a_mixed_folder_is_refused_where_one_series_is_meant(image, tmp_path):
    write_dicom(image, tmp_path)
    add_series(image, tmp_path, 4, "T1", shift=20.0)
    with pytest.raises(VolumeError, match=r"2 series in one folder: .*_4_T1 \(6 files\)"):
        read_volume(tmp_path)
    # A file of it names the series.
    volume = read_volume(tmp_path / "4-IMG-0004-00002.dcm").volume
    np.testing.assert_allclose((volume.affine - image.affine)[:3, 3], (0, 0, 20.0), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Expected implicit VR")
@pytest.mark.parametrize("content", [b"", b"no DICOM at all" * 40, bytes(2000)])
def test_a_damaged_file_named_dcm_is_no_missing_slice(image, tmp_path, content):
    """Without its first or last slice a series would still be regular."""
    write_dicom(image, tmp_path)[-1].write_bytes(content)
    (series,) = find_series(tmp_path)  # finding it is no error: other folders may be fine
    for source in (series, tmp_path, tmp_path / "IMG-0004-00001.dcm"):
        with pytest.raises(VolumeError, match=r"IMG-0004-00006\.dcm"):
            read_series(source)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_old_exports_without_the_first_bytes(image, tmp_path, implicit, suffix):
    """Neither the 128 bytes and "DICM" nor the group that says how the rest is encoded."""
    files = write_dicom(image, tmp_path)
    struct = pydicom.dcmread(files[0])
    struct.SOPClassUID = RTStructureSetStorage
    for path, file in ((tmp_path / "old.dcm", struct), *((f, pydicom.dcmread(f)) for f in files)):
        del file.file_meta
        path.unlink(missing_ok=True)
        file.save_as(path.with_suffix(suffix), implicit_vr=implicit, little_endian=True)
    (series,) = find_series(tmp_path)
    assert len(series.files) == len(files)
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)


def test_a_series_that_no_seg_can_refer_to(image, tmp_path):
    change(write_dicom(image, tmp_path)[2], FrameOfReferenceUID=None)
    assert [series.referable for series in find_series(tmp_path)] == [False]


def test_a_folder_of_damaged_files_only(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    (series,) = find_series(tmp_path)
    with pytest.raises(VolumeError, match=r"a\.dcm"):
        read_series(series)


def test_no_series(image, tmp_path):
    with pytest.raises(VolumeError, match="0 DICOM slices"):
        read_series(tmp_path)
    with pytest.raises(VolumeError, match="0 DICOM slices"):
        read_series(tmp_path / "nowhere")
    assert find_series(tmp_path) == []
    for path in write_dicom(image, tmp_path)[2:]:
        path.unlink()
    for path in tmp_path.iterdir():
        as_other(path, RTStructureSetStorage)
    with pytest.raises(VolumeError, match=r"left aside: 2 RT Structure Set Storage"):
        read_series(tmp_path)


def test_an_image_without_a_series(image, tmp_path):
    change(write_dicom(image, tmp_path)[2], SeriesInstanceUID=None)
    with pytest.raises(VolumeError, match=r"00003.dcm: no SeriesInstanceUID"):
        read_series(tmp_path)
