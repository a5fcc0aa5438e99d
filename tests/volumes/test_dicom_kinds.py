"""Series as archives have them: rounded, tilted, uneven, in parts, with damaged headers."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
hd = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")

from pydicom import Dataset  # noqa: E402
from pydicom.dataelem import RawDataElement  # noqa: E402
from pydicom.tag import Tag  # noqa: E402
from scipy.ndimage import map_coordinates  # noqa: E402

from dicoms import change, write_enhanced  # noqa: E402
from dpcenet.errors import VolumeError  # noqa: E402
from dpcenet.types import Volume  # noqa: E402
from dpcenet.volumes.dicom.find_series import Folders, find_series, one_series, plain  # noqa: E402
from dpcenet.volumes.dicom.read_seg import read_seg  # noqa: E402
from dpcenet.volumes.dicom.read_series import read_series, split_series  # noqa: E402
from dpcenet.volumes.dicom.segment_descriptions import Algorithm, closing  # noqa: E402
from dpcenet.volumes.geometry import on_grid  # noqa: E402
from dpcenet.volumes.io import read_volume  # noqa: E402
from dpcenet.volumes.masks import read_mask  # noqa: E402
from dpcenet.volumes.scan_file import ReadOptions  # noqa: E402
from dpcenet.volumes.write_masks import write_labels, write_somehow  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402

ALGORITHM = Algorithm("0.1.0", "test")
SMOOTH = (12, 48, 40)
EDGE = np.array([[-0.01], [1.0], [1.0]])
"""Slices count to the last, pixels but for the outermost: their neighbours lie outside."""


def position(path):
    return np.array(pydicom.dcmread(path).ImagePositionPatient, float)


def smooth(spacing, degrees=(0.0, 0.0, 0.0)):
    """A volume without noise, so that interpolation is near exact."""
    image, labels = made_case(shape=SMOOTH, spacing=spacing, degrees=degrees)
    z, y, x = np.indices(SMOOTH)
    data = 300 + 100 * np.sin(z / 5) + 80 * np.cos(y / 9) + 60 * np.sin(x / 8)
    return Volume(data.round().astype(np.int16), image.affine), labels


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (0.4, -0.3, 0.0)])
def test_positions_rounded_to_a_tenth_of_a_millimetre(tmp_path, degrees):
    image, labels = smooth((1.25, 1.0, 1.0), degrees)
    for path in write_dicom(image, tmp_path / "scan"):
        change(path, ImagePositionPatient=position(path).round(1).tolist())
    scan = read_series(tmp_path / "scan")
    np.testing.assert_array_equal(scan.volume.data, image.data)
    np.testing.assert_allclose(scan.volume.affine, image.affine, atol=0.06)
    # A SEG of it is read back, although readers want even gaps.
    mask = labels.data.astype(np.uint8)
    write_labels(mask, tmp_path / "m.dcm", scan, {1: "liver"}, ALGORITHM)
    found = on_grid(read_seg(tmp_path / "m.dcm").volume, scan.volume, "m")
    np.testing.assert_array_equal(found.data, mask)


@pytest.mark.parametrize("missing", [1, 5, 10])
def test_a_missing_slice_among_rounded_ones_is_refused(tmp_path, missing):
    image, _ = smooth((1.25, 1.0, 1.0))
    files = write_dicom(image, tmp_path)
    for path in files:
        change(path, ImagePositionPatient=position(path).round(1).tolist())
    files[missing].unlink()
    with pytest.raises(VolumeError, match=r"2\.[456]\d mm between .* a slice is missing"):
        read_series(tmp_path)


def test_a_tilted_gantry_is_resampled_on_request(tmp_path):
    """Each voxel of the result, at its place in the patient, against the tilted slices."""
    image, _ = smooth((3.0, 1.4, 1.6), (6.0, -9.0, 14.0))
    files = write_dicom(image, tmp_path)
    tilt = 3 * np.tan(np.radians(15))
    for z, path in enumerate(files):
        column = np.array(pydicom.dcmread(path).ImageOrientationPatient[3:], float)
        change(path, ImagePositionPatient=(position(path) + z * tilt * column).round(9).tolist())
    with pytest.raises(VolumeError, match=r"sheared by 15\.0° .*--resample"):
        read_series(tmp_path)
    scan = read_series(tmp_path, options=ReadOptions(resample=True))
    assert scan.facts.notes == ("slices sheared by 15.0° resampled to right angles",)
    assert scan.files == () and scan.volume.data.shape[1] > image.data.shape[1]
    sheared = image.affine.copy()  # the tilted lattice
    sheared[:3, 0] += image.affine[:3, 1] / 1.4 * tilt
    index = np.stack(np.meshgrid(*map(np.arange, scan.volume.data.shape), indexing="ij"))
    ras = scan.volume.affine @ np.r_[index.reshape(3, -1), np.ones((1, index[0].size))]
    at = (np.linalg.inv(sheared) @ ras).round(6)
    expected = map_coordinates(image.data.astype(float), at[:3], order=1, cval=np.nan)
    last = np.array(SMOOTH)[:, None] - 1
    inside = ((at[:3] > EDGE) & (at[:3] < last - EDGE)).all(0)
    assert inside.mean() > 0.6
    off = np.abs(scan.volume.data.ravel() - expected)[inside]
    assert off.max() < 3  # two ways to interpolate a smooth field of 240 grey values


def test_uneven_gaps_are_resampled_on_request(tmp_path):
    image, _ = smooth((3.0, 1.4, 1.6))
    files = write_dicom(image, tmp_path)
    for z in (4, 8, 10):
        files[z].unlink()
    with pytest.raises(VolumeError, match=r"6\.00 mm between .*--resample"):
        read_series(tmp_path)
    scan = read_series(tmp_path, options=ReadOptions(resample=True))
    assert scan.facts.notes == ("gaps of 3 to 6 mm resampled to 3 mm",)
    np.testing.assert_allclose(scan.volume.affine, image.affine, atol=1e-6)
    kept = [0, 1, 2, 3, 5, 6, 7, 9, 11]
    np.testing.assert_allclose(scan.volume.data[kept], image.data[kept], atol=1e-3)
    between = (image.data[3].astype(float) + image.data[5]) / 2
    np.testing.assert_allclose(scan.volume.data[4], between, atol=1e-3)


def test_a_regular_series_is_the_same_with_resampling_allowed(tmp_path):
    image, _ = made_case()
    write_dicom(image, tmp_path)
    one, other = read_series(tmp_path), read_series(tmp_path, options=ReadOptions(resample=True))
    np.testing.assert_array_equal(one.volume.data, other.volume.data)
    np.testing.assert_array_equal(one.volume.affine, other.volume.affine)
    assert one.files == other.files and other.facts.notes == ()


def in_parts(image, folder, **parts):
    """Two objects for each slice that differ in an attribute; the second one is brighter by 7."""
    ((name, values),) = parts.items()
    for number, path in enumerate(write_dicom(image, folder)):
        twin = path.with_name(f"A{path.name}")  # before the first in the order of names
        twin.write_bytes(path.read_bytes())
        change(path, **{name: values[0]})
        pixels = (image.data[number] + 7).tobytes()
        change(twin, SOPInstanceUID=f"1.2.4.{number}", PixelData=pixels, **{name: values[1]})


@pytest.mark.parametrize(
    ("name", "values", "shown", "chosen"),
    [
        ("EchoTime", (2.3, 4.6), "1 echo 2.3 ms; 2 echo 4.6 ms", "4.6"),
        ("DiffusionBValue", (50.0, 800.0), "1 b-value 50.0 s/mm²; 2 b-value 800", "800"),
        ("TemporalPositionIdentifier", (9, 10), "1 time point 9; 2 time point 10", "point 10"),
        ("TriggerTime", (0.0, 40.5), "1 phase 0.0 ms; 2 phase 40.5 ms", "40.5"),
        ("ImageType", (["A", "P", "M"], ["A", "P", "R"]), "1 image type A P M; 2 image", "A P R"),
        ("AcquisitionNumber", (1, 2), "1 acquisition 1; 2 acquisition 2", "acquisition 2"),
    ],
)
def test_one_volume_of_several_is_chosen(tmp_path, name, values, shown, chosen):
    image, _ = made_case()
    in_parts(image, tmp_path, **{name: values})
    with pytest.raises(VolumeError, match=f"2 volumes: {shown}") as error:
        read_series(tmp_path)
    assert "--echo" in str(error.value)
    for part, more in ((1, 0), (2, 7), (chosen, 7)):
        scan = read_series(tmp_path, options=ReadOptions(part=part))
        np.testing.assert_array_equal(scan.volume.data, image.data + more)
        assert len(set(scan.files)) == len(image.data)
        assert scan.facts.notes[0].startswith("one of 2 volumes: ")
    one, two = split_series(find_series(tmp_path)[0])
    assert one.name != two.name and one.part == 1
    np.testing.assert_array_equal(read_series(two).volume.data, image.data + 7)


def test_equal_pixels_of_two_echoes_are_two_volumes(tmp_path):
    image, _ = made_case()
    in_parts(image, tmp_path, EchoTime=(2.3, 4.6))
    for number, path in enumerate(sorted(tmp_path.glob("A*"))):
        change(path, PixelData=image.data[number].tobytes())
    with pytest.raises(VolumeError, match="2 volumes"):
        read_series(tmp_path)


def test_an_echo_of_an_enhanced_file_gets_a_mask(tmp_path):
    image, labels = made_case()
    file = write_enhanced(image, tmp_path / "e.dcm", range(6))
    frames = list(file.PerFrameFunctionalGroupsSequence)
    for frame in frames:
        frame.MREchoSequence = [Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime = 2.3
    late = pydicom.dcmread(tmp_path / "e.dcm").PerFrameFunctionalGroupsSequence
    for frame in late:
        frame.MREchoSequence = [Dataset()]
        frame.MREchoSequence[0].EffectiveEchoTime = 4.6
    file.PerFrameFunctionalGroupsSequence = [*frames, *late]
    file.NumberOfFrames = 12
    file.PixelData += (image.data + 7).tobytes()
    file.save_as(tmp_path / "e.dcm")
    scan = read_volume(tmp_path / "e.dcm", options=ReadOptions(part="4.6"))
    np.testing.assert_array_equal(scan.volume.data, image.data + 7)
    path, why = write_somehow(labels.data, tmp_path / "m.dcm", scan, {1: "liver"}, ALGORITHM)
    assert path.name == "m.nii.gz" and why.startswith("no DICOM SEG: ")
    found = on_grid(read_volume(path).volume, scan.volume, "m")
    np.testing.assert_array_equal(found.data, labels.data)


def test_series_of_a_folder_by_number_and_name(tmp_path):
    image, _ = made_case()
    write_dicom(image, tmp_path)
    for number, path in enumerate(write_dicom(image, tmp_path / "more")):
        change(path, SeriesInstanceUID="1.2.7", SeriesNumber=7, SeriesDescription="T1 post")
        path.rename(tmp_path / f"{number}.dcm")
    with pytest.raises(VolumeError, match=r"2 series in one folder.*--series"):
        read_volume(tmp_path)
    for wanted in (1, "T1"):
        files = read_volume(tmp_path, options=ReadOptions(series=wanted)).files
        assert {path.name for path in files} == {f"{n}.dcm" for n in range(6)}


def test_a_single_slice_with_its_thickness(tmp_path):
    image, _ = made_case()
    for path in write_dicom(image, tmp_path)[1:]:
        path.unlink()
    with pytest.raises(VolumeError, match=r"1 DICOM slice; .*SliceThickness"):
        read_series(tmp_path)
    change(tmp_path / "IMG-0004-00001.dcm", SliceThickness=6.0)
    scan = read_series(tmp_path)
    np.testing.assert_array_equal(scan.volume.data, image.data[:1])
    np.testing.assert_allclose(scan.volume.affine, image.affine, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PixelPaddingValue": -2000}, (-2000, -2000)),
        ({"PixelPaddingValue": -2000, "RescaleSlope": 2, "RescaleIntercept": 5}, (-3995, -3995)),
        ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500}, (-2000, -1500)),
        ({}, None),
    ],
)
def test_padding_and_modality_are_facts(tmp_path, values, expected):
    image, _ = made_case()
    for path in write_dicom(image, tmp_path):
        file = pydicom.dcmread(path)
        for name, value in values.items():
            file.add_new(name, "SS" if "Padding" in name else "DS", value)
        file.save_as(path)
    facts = read_series(tmp_path).facts
    assert facts.modality == "MR" and facts.padding == expected
    for path in tmp_path.iterdir():
        change(path, Modality=None)
    assert read_series(tmp_path).facts.modality == "MR"  # by the SOP class


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "values",
    [
        {"PatientBirthDate": "19600000"},
        {"PatientBirthDate": "1960"},
        {"PatientBirthDate": "1960.01.02"},
        {"StudyDate": "ANON"},
        {"StudyTime": "12:00:00"},
        {"StudyTime": "noon"},
        {"PatientSex": "unknown"},
        {"PatientSex": None},
        {"SpecificCharacterSet": ""},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "Hong^Gildong=洪^吉洞"},
        {"SpecificCharacterSet": "GB18030", "PatientName": "王^小东", "StudyID": "研究"},
        {"SpecificCharacterSet": "no such set", "PatientName": "A^B"},
        {"AccessionNumber": "x" * 99},
        {"PatientAge": "old"},
    ],
)
def test_headers_that_break_the_standard_still_get_a_seg(tmp_path, values):
    image, labels = made_case()
    for path in write_dicom(image, tmp_path / "scan"):
        file = pydicom.dcmread(path)
        for name, value in values.items():
            if value is None:
                continue
            with pydicom.config.disable_value_validation():
                setattr(file, name, value)
        file.save_as(path)
    scan = read_series(tmp_path / "scan")
    names = {1: "Niere groß", 2: "肝"}
    path, why = write_somehow(labels.data, tmp_path / "m.dcm", scan, names, ALGORITHM)
    assert (path.suffix, why) == (".dcm", "")
    found = read_seg(path)
    np.testing.assert_array_equal(on_grid(found.volume, scan.volume, "m").data, labels.data)
    assert {value: found.facts.labels.names[value] for value in names} == names
    seg = pydicom.dcmread(path)
    if "吉" in values.get("PatientName", "") or "山" in values.get("PatientName", ""):
        assert str(seg.PatientName) == values["PatientName"]
    if values.get("PatientBirthDate") == "1960.01.02":
        assert seg.PatientBirthDate == "19600102"


def test_groups_that_each_frame_has_by_itself(tmp_path):
    """Enhanced files of some scanners share nothing."""
    image, labels = made_case()
    file = write_enhanced(image, tmp_path / "e.dcm", [3, 0, 5, 1, 4, 2])
    shared = file.SharedFunctionalGroupsSequence[0]
    for frame in file.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PixelMeasuresSequence, shared.PlaneOrientationSequence
    file.save_as(tmp_path / "e.dcm")
    scan = read_volume(tmp_path / "e.dcm")
    path, why = write_somehow(labels.data, tmp_path / "m.dcm", scan, {1: "liver"}, ALGORITHM)
    assert why == ""
    found = on_grid(read_seg(path).volume, scan.volume, "m")
    np.testing.assert_array_equal(found.data, labels.data)


def test_a_wrong_gap_in_the_headers_is_not_copied(tmp_path):
    image, labels = made_case()
    for path in write_dicom(image, tmp_path / "scan"):
        change(path, SpacingBetweenSlices=1.0)
    scan = read_series(tmp_path / "scan")
    write_labels(labels.data, tmp_path / "m.dcm", scan, {1: "liver"}, ALGORITHM)
    found = on_grid(read_seg(tmp_path / "m.dcm").volume, scan.volume, "m")
    np.testing.assert_array_equal(found.data, labels.data)


def raw(path, keyword, vr, value):
    """An attribute whose bytes pydicom cannot convert."""
    file = pydicom.dcmread(path)
    tag = Tag(keyword)
    file[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    file.save_as(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("Rows", "US", b"\x01\x00\x02\x00"),
        ("Rows", "FD", np.float64(np.nan).tobytes()),
        ("BitsAllocated", "US", b"\x10\x00\x08\x00"),
        ("PixelRepresentation", "DS", b"no"),
        ("ImagePositionPatient", "DS", b"1\\x\\3 "),
        ("PixelSpacing", "DS", b"1e999\\1 "),
        ("NumberOfFrames", "IS", b"many"),
        ("SamplesPerPixel", "DS", b"a "),
    ],
)
def test_a_damaged_attribute_is_named_and_stops_no_other_series(tmp_path, keyword, vr, value):
    image, _ = made_case()
    raw(write_dicom(image, tmp_path / "bad")[2], keyword, vr, value)
    write_dicom(image, tmp_path / "good")
    np.testing.assert_array_equal(read_series(tmp_path / "good").volume.data, image.data)
    find_series(tmp_path / "bad")  # is no error: another series may lie there
    with pytest.raises(VolumeError, match=r"bad"):
        read_series(tmp_path / "bad")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", ["EchoTime", "TriggerTime", "SliceThickness", "ImageType"])
def test_a_damaged_attribute_that_is_not_needed_does_no_harm(tmp_path, keyword):
    image, _ = made_case()
    raw(write_dicom(image, tmp_path)[2], keyword, "DS", b"x ")
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, image.data)


def test_slices_by_name_are_looked_for_once(tmp_path, monkeypatch):
    import dpcenet.volumes.dicom.find_series as module

    image, _ = made_case()
    files = write_dicom(image, tmp_path)
    asked = []
    read = module.read_header
    monkeypatch.setattr(module, "read_header", lambda path: asked.append(path) or read(path))
    folders = Folders()
    assert len({one_series(path, folders=folders).files for path in files}) == 1
    assert len(asked) == len(files)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("患者一", "患者一"),
        ("../../etc", "etc"),
        ("a/b\\c:d", "a_b_c_d"),
        ("...", "series"),
        ("\udcff\udcfe", "series"),
        ("é" * 200, "é" * 60),
        ("x\n\x00y", "x_y"),
    ],
)
def test_names_of_folders_in_any_script(text, name):
    assert plain(text) == name
    assert len(plain(text).encode()) <= 120


def test_a_folder_with_a_name_in_another_script(tmp_path):
    image, _ = made_case()
    write_dicom(image, tmp_path / "患者一")
    (series,) = find_series(tmp_path / "患者一")
    assert series.name == "患者一"


def test_a_folder_that_holds_one_seg_is_that_seg(tmp_path):
    image, labels = made_case()
    write_dicom(image, tmp_path / "scan")
    scan = read_series(tmp_path / "scan")
    (tmp_path / "seg").mkdir()
    write_labels(labels.data, tmp_path / "seg" / "1-1.dcm", scan, {1: "liver"}, ALGORITHM)
    found = read_mask(tmp_path / "seg", scan)
    np.testing.assert_array_equal(on_grid(found.volume, scan.volume, "m").data, labels.data)
    assert found.facts.labels.names[1] == "liver"
    assert found.facts.labels.codes[1].value == "10200004"
    write_labels(labels.data, tmp_path / "seg" / "1-2.dcm", scan, {1: "liver"}, ALGORITHM)
    with pytest.raises(VolumeError, match="2 segmentations in one folder"):
        read_mask(tmp_path / "seg", scan)


def test_a_fractional_seg_is_cut_at_one_half(tmp_path):
    image, _ = made_case()
    write_dicom(image, tmp_path / "scan")
    sources = [pydicom.dcmread(path) for path in sorted((tmp_path / "scan").iterdir())]
    for source in sources:
        for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID"):
            setattr(source, name, "")
        source.AccessionNumber = source.StudyDate = source.StudyTime = ""
        source.SliceThickness = 6.0
    parts = np.random.default_rng(0).uniform(0, 1, (*image.data.shape, 2)).astype(np.float32)
    kidney = pydicom.sr.codedict.codes.SCT.Kidney
    segments = [hd.seg.SegmentDescription(n, f"part {n}", kidney, kidney, "MANUAL") for n in (1, 2)]
    seg = hd.seg.Segmentation(
        *(sources, parts, "FRACTIONAL", segments, hd.UID(), 7, hd.UID(), 1, "m", "n", "1", "2"),
        fractional_type="PROBABILITY",
        max_fractional_value=100,
    )
    with closing(seg):
        seg.save_as(tmp_path / "f.dcm")
    found = read_seg(tmp_path / "f.dcm")
    rounded = np.round(parts * 100) / 100
    expected = np.where(rounded.max(-1) >= 0.5, rounded.argmax(-1) + 1, 0)
    scan = read_series(tmp_path / "scan")
    ours = on_grid(found.volume, scan.volume, "f").data
    assert (ours == expected).mean() > 0.99  # ties of rounding aside
    assert found.facts.notes == ("a fractional segmentation, cut at 0.5",)
