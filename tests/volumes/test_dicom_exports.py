"""Headers that move values or mix scans without a sign: read as they mean, noted, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")

from pydicom import Dataset  # noqa: E402
from pydicom.uid import CTImageStorage  # noqa: E402
from test_rtstruct import item, outlines_of, write_rtstruct  # noqa: E402

from dicoms import change  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.types import Volume  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from dpcenet.volumes.dicom.segment_descriptions import Algorithm  # noqa: E402
from dpcenet.volumes.find_scans import find_scans  # noqa: E402
from dpcenet.volumes.masks import read_mask  # noqa: E402
from dpcenet.volumes.write_masks import write_labels, write_somehow  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402

EVERY_OTHER = slice(1, None, 2)


@pytest.fixture
def image() -> Volume:
    return made_case()[0]


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_upper_bits_are_refused(tmp_path: Path, image: Volume, signed: bool) -> None:
    for path in write_dicom(image, tmp_path / "s"):
        stored = pydicom.dcmread(path).pixel_array.astype(np.uint16) << 4
        change(path, BitsStored=12, HighBit=15, PixelData=stored.tobytes())
        change(path, PixelRepresentation=int(signed))
    with pytest.raises(VolumeError, match=r"upper bits .*HighBit 15.*expected HighBit 11"):
        read_series(tmp_path / "s")


def test_a_wrong_highbit_is_no_matter_where_the_values_lie_as_usual(
    tmp_path: Path, image: Volume
) -> None:
    below = Volume((image.data - 300).astype(np.int16), image.affine)
    for path in write_dicom(below, tmp_path / "s"):
        change(path, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_series(tmp_path / "s").volume.data, below.data)


def test_values_behind_a_table_are_refused(tmp_path: Path, image: Volume) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 16], "HU"
    table.add_new("LUTData", "OW", np.arange(4, dtype=np.uint16).tobytes())
    for path in write_dicom(image, tmp_path / "s"):
        change(path, ModalityLUTSequence=[table])
    with pytest.raises(VolumeError, match=r"Modality LUT.*expected a slope and an intercept"):
        read_series(tmp_path / "s")


def test_a_mosaic_is_no_slice(tmp_path: Path, image: Volume) -> None:
    """Siemens stores all slices of a time point as tiles of one picture, with one place."""
    (path, *rest) = write_dicom(image, tmp_path / "s")
    for other in rest:
        other.unlink()
    change(path, SliceThickness="4", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
    assert read_series(tmp_path / "s").volume.data.shape[0] == 1
    change(path, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    with pytest.raises(VolumeError, match=r"a mosaic: all slices in one picture.*dcm2niix"):
        read_series(tmp_path / "s")


@pytest.mark.parametrize(
    ("modality", "unit", "noted"),
    [("CT", "MGML", True), ("CT", "HU", False), ("CT", "US", False), ("MR", "MGML", False)],
)
def test_a_ct_of_something_else_than_hounsfield_units_is_noted(
    tmp_path: Path, image: Volume, modality: str, unit: str, noted: bool
) -> None:
    for path in write_dicom(image, tmp_path / "s"):
        change(path, Modality=modality, RescaleSlope="0.1", RescaleIntercept="0", RescaleType=unit)
    notes = read_series(tmp_path / "s").facts.notes
    expected = "its values are no Hounsfield units: the header says MGML"
    assert notes == ((expected,) if noted else ())


@pytest.mark.parametrize(
    ("what", "change_"),
    [("patient", {"PatientID": "B"}), ("study", {"StudyInstanceUID": "1.2.3.77"})],
)
def test_two_scans_that_fit_together_under_one_series_uid_are_refused(
    tmp_path: Path, image: Volume, what: str, change_: dict[str, str]
) -> None:
    """An export that numbers series anew may give two of them one UID; their slices interleave."""
    files = write_dicom(image, tmp_path / "s")
    for path in files:
        change(path, PatientID="A")
    for path in files[EVERY_OTHER]:
        change(path, **change_)
    with pytest.raises(VolumeError, match=f"another {what} than .*, in one series"):
        read_series(tmp_path / "s")


def test_a_patient_that_only_some_files_name_is_the_same(tmp_path: Path, image: Volume) -> None:
    files = write_dicom(image, tmp_path / "s")
    for path in files[EVERY_OTHER]:
        change(path, PatientID="A")
    np.testing.assert_array_equal(read_series(tmp_path / "s").volume.data, image.data)


def test_a_mask_of_files_with_one_uid_is_nifti(tmp_path: Path, image: Volume) -> None:
    """A SEG says to which file each of its slices belongs."""
    for path in write_dicom(image, tmp_path / "s"):
        change(path, SOPInstanceUID="1.2.3.4")
    scan = read_series(tmp_path / "s")
    mask = np.zeros(image.data.shape, np.uint8)
    mask[2, 20:30, 20:30] = 1
    algorithm = Algorithm("0.1.0", "test")
    written, why = write_somehow(mask, tmp_path / "m.dcm", scan, {1: "liver"}, algorithm)
    assert written == tmp_path / "m.nii.gz" and "several files have one SOPInstanceUID" in why


@pytest.mark.parametrize("suffix", ["nii", "hdr", "nrrd", "img"])
def test_a_series_whose_files_are_named_like_another_format(
    tmp_path: Path, image: Volume, suffix: str
) -> None:
    for path in write_dicom(image, tmp_path / "s"):
        path.rename(path.with_suffix(f".{suffix}"))
    (series,) = find_scans(tmp_path)
    np.testing.assert_array_equal(read_series(series).volume.data, image.data)


def test_a_ct_of_a_scanner_reads_without_a_note(tmp_path: Path, image: Volume) -> None:
    for path in write_dicom(image, tmp_path / "s"):
        change(path, SOPClassUID=CTImageStorage, Modality="CT", PatientID="A", HighBit=15)
        change(path, RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    scan = read_series(tmp_path / "s")
    assert scan.facts.notes == () and scan.facts.modality == "CT"
    np.testing.assert_array_equal(scan.volume.data, image.data - 1024.0)


PATIENT = "it names another patient than the scan"
FRAME = "it was drawn in another frame of reference than the scan"


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"PatientID": "B"}, [PATIENT]),
        ({"FrameOfReferenceUID": "1.2.3.4.5"}, [FRAME]),
        ({"PatientID": "", "FrameOfReferenceUID": "1.2.3.4.5"}, [FRAME]),
        ({"PatientID": "B", "FrameOfReferenceUID": "1.2.3.4.5"}, [PATIENT, FRAME]),
    ],
)
def test_a_mask_of_another_scan_on_the_same_grid_is_noted(
    tmp_path: Path, kind: str, changes: dict[str, str], said: list[str]
) -> None:
    """Phantoms and protocols put two patients on one grid, so that the place does not tell."""
    image, labels = made_case()
    for path in write_dicom(image, tmp_path / "a"):
        change(path, PatientID="A")
    drawn = read_series(tmp_path / "a")
    if kind == "SEG":
        algorithm = Algorithm("0.1.0", "test")
        ball = (labels.data == 1).astype(np.uint8)
        write_labels(ball, tmp_path / "m.dcm", drawn, {1: "liver"}, algorithm)
    else:
        outlines = outlines_of(labels.data == 1, image.affine)
        write_rtstruct(tmp_path / "m.dcm", {1: ("liver", outlines)})
        frame = item(FrameOfReferenceUID="1.2.3.98")
        change(tmp_path / "m.dcm", PatientID="A", ReferencedFrameOfReferenceSequence=[frame])
    for path in (tmp_path / "a").iterdir():
        change(path, **changes)
    mask = read_mask(tmp_path / "m.dcm", read_series(tmp_path / "a"))
    np.testing.assert_array_equal(mask.volume.data > 0, labels.data == 1)
    assert [note.partition(":")[0] for note in mask.facts.notes] == said
