"""DICOM SEG: what is written is what other readers find, voxel for voxel in the patient."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
hd = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")

from pydicom.sr.codedict import codes  # noqa: E402

from dicoms import at_lps, change, write_enhanced  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.types import Volume  # noqa: E402
from dpcenet.volumes.dicom.read_seg import read_seg, spread  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series  # noqa: E402
from dpcenet.volumes.dicom.segment_descriptions import Algorithm, closing  # noqa: E402
from dpcenet.volumes.dicom.write_seg import write_seg  # noqa: E402
from dpcenet.volumes.geometry import on_grid  # noqa: E402
from dpcenet.volumes.io import read_volume  # noqa: E402
from dpcenet.volumes.scan_file import ScanFile, SourceGrid  # noqa: E402
from dpcenet.volumes.structures import property_of  # noqa: E402
from dpcenet.volumes.write_masks import write_labels  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402

ALGORITHM = Algorithm("0.1.0", "incontext 756383cdce2d")
NAMES = {1: "liver", 2: "right kidney", 3: "my lesion", 7: "spleen"}
WHEN = datetime(2026, 1, 2, 3, 4, 5)
ORDERS = {"in order": range(6), "reversed": range(5, -1, -1), "mixed": [3, 0, 5, 1, 4, 2]}
PLACES = {
    "oblique": ((6.0, 1.4, 1.6), (6.0, -9.0, 14.0), "mixed"),
    "straight": ((5.0, 1.0, 1.0), (0.0, 0.0, 0.0), "in order"),
    "coronal": ((7.3, 0.7, 1.9), (90.0, 0.0, 0.0), "reversed"),
    "sagittal, turned": ((3.1, 2.2, 0.9), (3.0, 80.0, -70.0), "reversed"),
}


@pytest.fixture(params=PLACES)
def case(request, tmp_path):
    """Image, labels, and the SEG of its series."""
    spacing, degrees, order = PLACES[request.param]
    image, labels = made_case(spacing=spacing, degrees=degrees, values=(1, 2, 3, 7))
    return image, labels, written(image, labels, tmp_path, ORDERS[order])[0]


@pytest.fixture
def oblique():
    return made_case(values=(1, 2, 3, 7))


def written(image, labels, folder: Path, order=range(6)) -> tuple[Path, ScanFile]:
    write_dicom(image, folder / "scan", order=list(order))
    scan = read_series(folder / "scan")
    path = folder / "seg.dcm"
    write_seg(labels.data, path, scan, NAMES, ALGORITHM, WHEN)
    return path, scan


def segments_by_bits(path: Path) -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """Segment → planes: LPS mm (N, 3) and bits (N,), by the standard, without any library of SEGs.

    PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    file = pydicom.dcmread(path)
    rows, columns, count = file.Rows, file.Columns, int(file.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(file.PixelData, np.uint8), bitorder="little")
    frames = bits[: count * rows * columns].reshape(count, -1)
    shared = file.SharedFunctionalGroupsSequence[0]
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    step = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))
    offset = np.outer(i.ravel() * step[1], along[:3]) + np.outer(j.ravel() * step[0], along[3:])
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for frame, item in zip(frames, file.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        first = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        found.setdefault(number, []).append((offset + first, frame))
    return found


def test_bit_for_bit_by_the_standards_equations(case):
    _, labels, path = case
    segments = segments_by_bits(path)
    assert sorted(segments) == [1, 2, 3, 4]
    for number, value in zip((1, 2, 3, 4), NAMES, strict=True):
        assert len(segments[number]) == 6
        for place, bits in segments[number]:
            np.testing.assert_array_equal(bits, at_lps(labels, place) == value)
        assert sum(int(bits.sum()) for _, bits in segments[number]) == (labels.data == value).sum()


def test_bit_for_bit_by_dcmqi(case, tmp_path):
    dcmqi = pytest.importorskip("dcmqi", reason="dcmqi, the second reader, is not installed")
    _, labels, path = case
    tool = next(Path(dcmqi.__file__).parent.rglob("segimage2itkimage*"))
    where = ["--outputDirectory", str(tmp_path), "-p", "theirs", "-t", "nrrd", "--mergeSegments"]
    subprocess.run(
        [str(tool), "--inputDICOM", str(path), *where], check=True, capture_output=True, timeout=60
    )
    theirs = sitk.ReadImage(str(tmp_path / "theirs-1.nrrd"))
    array = sitk.GetArrayFromImage(theirs)
    assert array.shape == labels.data.shape
    index = np.argwhere(np.ones_like(array))
    place = np.array([theirs.TransformIndexToPhysicalPoint(i.tolist()) for i in index[:, ::-1]])
    expected = np.searchsorted((0, *NAMES), at_lps(labels, place))
    np.testing.assert_array_equal(array.ravel(), expected)


def test_our_own_reader_finds_labels_and_names(case):
    image, labels, path = case
    scan = read_seg(path)
    found, names = scan.volume, dict(scan.facts.labels.names)
    assert names == NAMES
    np.testing.assert_array_equal(on_grid(found, image, path).data, labels.data)
    np.testing.assert_array_equal(on_grid(read_volume(path).volume, image, path).data, labels.data)


def test_a_backslash_in_a_name_separates_no_values(oblique, tmp_path):
    image, labels = oblique
    write_dicom(image, tmp_path / "scan")
    names = {value: f"{name}\\{value}" for value, name in NAMES.items()}
    path = tmp_path / "seg.dcm"
    write_seg(labels.data, path, read_series(tmp_path / "scan"), names, ALGORITHM, WHEN)
    expected = {value: f"{name}/{value}" for value, name in NAMES.items()}
    assert read_seg(path).facts.labels.names == expected
    file = pydicom.dcmread(path)
    file.SegmentSequence[0].SegmentLabel = ["left", "kidney"]  # as other programs write it
    file.save_as(path)
    assert read_seg(path).facts.labels.names[min(NAMES)] == "left/kidney"


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_of_an_enhanced_file(oblique, order, tmp_path):
    image, labels = oblique
    write_enhanced(image, tmp_path / "scan" / "e.dcm", order)
    scan = read_series(tmp_path / "scan")
    write_seg(labels.data, tmp_path / "seg.dcm", scan, NAMES, ALGORITHM, WHEN)
    for number, planes in segments_by_bits(tmp_path / "seg.dcm").items():
        value = list(NAMES)[number - 1]
        for place, bits in planes:
            np.testing.assert_array_equal(bits, at_lps(labels, place) == value)


def test_it_says_what_it_belongs_to_and_what_made_it(oblique, tmp_path):
    path, scan = written(*oblique, tmp_path, [3, 0, 5, 1, 4, 2])
    seg, source = pydicom.dcmread(path), pydicom.dcmread(scan.files[0])
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    series = seg.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referred == {pydicom.dcmread(file).SOPInstanceUID for file in scan.files}
    for item in seg.PerFrameFunctionalGroupsSequence:  # each frame refers to the slice it lies on
        place = item.PlanePositionSequence[0].ImagePositionPatient
        derived = item.DerivationImageSequence[0].SourceImageSequence[0]
        (file,) = (
            file
            for file in map(pydicom.dcmread, scan.files)
            if file.SOPInstanceUID == derived.ReferencedSOPInstanceUID
        )
        np.testing.assert_allclose(np.array(place, float), file.ImagePositionPatient, atol=1e-6)
    assert seg.SegmentationType == "BINARY" and seg.SegmentsOverlap == "NO"
    assert seg.ContentQualification == "RESEARCH" and seg.ContentLabel == "RESEARCH_USE"
    assert "research use only" in seg.ContentDescription
    assert (seg.ContentDate, seg.ContentTime) == ("20260102", "030405")
    for segment, (value, name) in zip(seg.SegmentSequence, NAMES.items(), strict=True):
        assert segment.SegmentLabel == name and f"Label {value} " in segment.SegmentDescription
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        maker = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert maker.AlgorithmName == "dpcenet"
        assert maker.AlgorithmVersion == "0.1.0+incontext 756383cdce2d"


def test_the_same_mask_is_the_same_file(oblique, tmp_path):
    image, labels = oblique
    path, scan = written(image, labels, tmp_path)
    again, later, other = (tmp_path / f"{name}.dcm" for name in ("again", "later", "other"))
    write_seg(labels.data, again, scan, NAMES, ALGORITHM, WHEN)
    assert again.read_bytes() == path.read_bytes()
    write_seg(labels.data, later, scan, NAMES, ALGORITHM)
    write_seg(labels.data * (labels.data != 7), other, scan, NAMES, ALGORITHM, WHEN)
    uids = [pydicom.dcmread(each).SOPInstanceUID for each in (path, later, other)]
    assert uids[0] == uids[1] != uids[2]
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".partial")]


def test_labels_without_a_voxel_are_empty_segments(oblique, tmp_path):
    image, labels = oblique
    _, scan = written(image, labels, tmp_path)
    write_seg(np.zeros_like(labels.data), tmp_path / "no.dcm", scan, {4: "cyst"}, ALGORITHM)
    scan = read_seg(tmp_path / "no.dcm")
    found, names = scan.volume, dict(scan.facts.labels.names)
    assert names == {4: "cyst"} and not found.data.any()
    assert found.data.shape == labels.data.shape


def test_codes_are_those_of_the_standard(oblique, tmp_path):
    path, _ = written(*oblique, tmp_path)
    liver, kidney, lesion, spleen = (
        segment.SegmentedPropertyTypeCodeSequence[0]
        for segment in pydicom.dcmread(path).SegmentSequence
    )
    side = kidney.SegmentedPropertyTypeModifierCodeSequence[0]
    expected = [codes.SCT.Liver, codes.SCT.Kidney, codes.SCT.AnatomicalStructure, codes.SCT.Spleen]
    for found, code in zip((liver, kidney, lesion, spleen), expected, strict=True):
        assert (found.CodeValue, found.CodeMeaning) == (code.value, code.meaning)
    assert (side.CodeValue, side.CodeMeaning) == (codes.SCT.Right.value, codes.SCT.Right.meaning)
    assert "SegmentedPropertyTypeModifierCodeSequence" not in liver
    heart = {
        "LV-BP": codes.SCT.LeftVentricle,
        "RV": codes.SCT.RightVentricle,
        "LV-MYO": codes.SCT.LeftVentricleMyocardium,
        "livers of two mice": codes.SCT.AnatomicalStructure,
    }
    for name, code in heart.items():
        assert property_of(name).kind == (code.value, code.meaning)
    assert property_of("Left_Kidney").side == (codes.SCT.Left.value, codes.SCT.Left.meaning)


def test_a_foreign_seg_of_some_slices_is_spread_over_the_scan(oblique, tmp_path):
    """As highdicom and most viewers write them: without empty frames, values by number."""
    image, labels = oblique
    files = write_dicom(image, tmp_path / "scan")
    mask = np.isin(labels.data, (1, 7)).astype(np.uint8)
    mask[[0, 1, 5]] = 0
    segment = hd.seg.SegmentDescription(
        1, "theirs", codes.SCT.AnatomicalStructure, codes.SCT.Liver, "MANUAL"
    )
    sources = [pydicom.dcmread(file) for file in files]
    for source in sources:
        for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID"):
            setattr(source, name, "")
        source.AccessionNumber = source.StudyDate = source.StudyTime = ""
        source.SliceThickness = 6.0
    seg = hd.seg.Segmentation(
        sources, mask, "BINARY", [segment], hd.UID(), 7, hd.UID(), 1, "m", "n", "1", "2"
    )
    with closing(seg):
        seg.save_as(tmp_path / "theirs.dcm")
    scan = read_seg(tmp_path / "theirs.dcm")
    found, names = scan.volume, dict(scan.facts.labels.names)
    assert found.data.shape == (3, 48, 40) and names == {1: "theirs"}
    whole = spread(found, image, tmp_path / "theirs.dcm")
    np.testing.assert_array_equal(on_grid(whole, image, "theirs").data, mask)
    with pytest.raises(VolumeError, match="reach beyond the scan"):
        spread(found, Volume(image.data[:3], image.affine), tmp_path / "theirs.dcm")
    elsewhere = image.affine.copy()
    elsewhere[:3, 3] += (2.0, 0.0, 0.0)
    with pytest.raises(VolumeError, match=r"away from its image|beyond the scan"):
        on_grid(
            spread(found, Volume(image.data, elsewhere), tmp_path),
            Volume(image.data, elsewhere),
            "x",
        )


@pytest.mark.parametrize("name", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_that_a_seg_cannot_refer_to(oblique, tmp_path, name):
    image, labels = oblique
    for file in write_dicom(image, tmp_path / "scan"):
        change(file, **{name: None})
    scan = read_series(tmp_path / "scan")
    with pytest.raises(VolumeError, match=rf"no {name}; .* Write the mask as \.nii\.gz"):
        write_seg(labels.data, tmp_path / "seg.dcm", scan, NAMES, ALGORITHM)
    assert not (tmp_path / "seg.dcm").exists()


def test_what_cannot_be_written_is_refused(oblique, tmp_path):
    image, labels = oblique
    _, scan = written(image, labels, tmp_path)
    path = tmp_path / "no.dcm"
    with pytest.raises(VolumeError, match="no DICOM series"):
        write_seg(labels.data, path, ScanFile(image, SourceGrid.of(image)), NAMES, ALGORITHM)
    with pytest.raises(VolumeError, match=r"the mask is \(5, 48, 40\)"):
        write_seg(labels.data[1:], path, scan, NAMES, ALGORITHM)
    with pytest.raises(VolumeError, match="labels from -7 to 7"):
        write_seg(
            np.where(labels.data == 1, -7, labels.data.astype(int)), path, scan, NAMES, ALGORITHM
        )
    with pytest.raises(VolumeError, match="no label"):
        write_seg(labels.data * 0, path, scan, {}, ALGORITHM)
    assert not path.exists()


def test_the_suffix_chooses_between_seg_and_nifti(oblique, tmp_path):
    image, labels = oblique
    _, scan = written(image, labels, tmp_path)
    for name in ("m.dcm", "m.nii.gz"):
        write_labels(labels.data, tmp_path / name, scan, NAMES, ALGORITHM)
        found = read_volume(tmp_path / name).volume
        np.testing.assert_array_equal(on_grid(found, image, name).data, labels.data)


def fractional(file):
    file.SegmentationType = "FRACTIONAL"


def overlapping(file):
    size = file.Rows * file.Columns * 6 // 8  # bytes of a segment
    file.PixelData = file.PixelData[:size] * 4


def huge(file):
    file.NumberOfFrames, file.Rows, file.Columns = 1000, 60_000, 60_000


def no_frames(file):
    file.PerFrameFunctionalGroupsSequence = []


def no_segments(file):
    del file.SegmentSequence


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (fractional, "cannot be read"),  # its pixels are single bits
        (overlapping, "do not overlap"),
        (huge, "claims 3,600,000,000,000 bytes"),
        (no_frames, "cannot be read"),
        (no_segments, "cannot be read"),
    ],
)
def test_segs_that_cannot_be_used(oblique, tmp_path, how, message):
    path, _ = written(*oblique, tmp_path)
    file = pydicom.dcmread(path)
    how(file)
    file.save_as(path)
    with pytest.raises(VolumeError, match=message):
        read_seg(path)


def test_an_attribute_that_claims_gigabytes_takes_no_memory(oblique, tmp_path):
    """What a library asks for is bounded by the size of the file; a mutated file claimed 3.7 GB."""
    path, _ = written(*oblique, tmp_path)
    claim = (0xFFFCFFFC).to_bytes(4, "little") + b"OB\0\0" + (0xD0000000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes() + claim + b"\0" * 8)
    tracemalloc.start()
    with suppress(VolumeError):  # the rest of the file may be of use, or not
        read_seg(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6


def test_no_database_stays_open(oblique, tmp_path, monkeypatch):
    """Python 3.13 warns of one; highdicom keeps a table of the frames in memory."""
    made = []
    for name in ("segread", "Segmentation"):
        original = getattr(hd.seg, name)

        def kept(*arguments, original=original, **settings):
            made.append(original(*arguments, **settings))
            return made[-1]

        monkeypatch.setattr(hd.seg, name, kept)
    image, labels = oblique
    write_dicom(image, tmp_path / "scan")
    write_seg(labels.data, tmp_path / "seg.dcm", read_series(tmp_path / "scan"), NAMES, ALGORITHM)
    read_seg(tmp_path / "seg.dcm")
    assert len(made) == 2
    for seg in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            seg._db_con.execute("SELECT 1")


def test_without_highdicom_the_extra_is_named(oblique, tmp_path, monkeypatch):
    path, _ = written(*oblique, tmp_path)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(VolumeError, match=r"pip install 'dpcenet\[dicom\]'"):
        read_seg(path)
