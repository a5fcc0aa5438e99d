"""`doctor`: each fault is found, named with its size, mended in a copy, and never in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.data.datasets.spec import SourceCase
from dpcenet.data.doctor.doctor import diagnose
from dpcenet.data.doctor.examine import CaseReport
from dpcenet.data.doctor.findings import as_table, to_json
from dpcenet.data.doctor.repair import write_fixed
from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.data.prepare import prepare
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.system.files import file_hash
from dpcenet.types import Volume
from dpcenet.volumes import mask_record as ledger
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.scan_file import ReadOptions
from raw_layouts import (
    centroid,
    made_case,
    write_chaos,
    write_dicom,
    write_nifti,
    write_nnunet,
)


def write_pair(folder: Path, name: str, image: Volume, labels: Volume | None = None) -> None:
    write_nifti(image, folder / f"image_{name}.nii.gz")
    if labels is not None:
        write_nifti(labels, folder / f"label_{name}.nii.gz")


def examined(folder: Path, **options: object) -> CaseReport:
    (report,) = diagnose([folder], quiet=True, **options).reports
    return report


def straight() -> tuple[Volume, Volume]:
    return made_case(degrees=(0, 0, 0))


def test_a_good_scan_is_good(tmp_path: Path) -> None:
    image, labels = straight()
    write_pair(tmp_path, "a", image, labels)
    report = examined(tmp_path)
    assert report.errors == report.notes == ()
    assert report.case == "a" and report.shape == (6, 48, 40)
    assert report.spacing == pytest.approx((6, 1.4, 1.6))
    assert report.orientation == "LPS" and report.oblique_deg == 0
    assert report.intensity == (image.data.min(), image.data.max())
    assert report.label_offset_mm == 0
    for value, ml in report.label_ml.items():
        assert ml == pytest.approx((labels.data == value).sum() * 6 * 1.4 * 1.6 / 1000, abs=1e-3)


def test_an_oblique_scan_is_a_note_and_not_an_error(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", *made_case(degrees=(0, 0, 20)))
    report = examined(tmp_path)
    assert report.errors == () and report.oblique_deg == pytest.approx(20, abs=0.01)
    assert report.notes == ("oblique by 20.0°; slices are kept in their own plane",)


def test_labels_elsewhere_are_an_error_in_mm_and_mended(tmp_path: Path) -> None:
    image, labels = straight()
    moved = labels.affine.copy()
    moved[:3, 3] += (3, 0, 4)
    write_pair(tmp_path / "in", "a", image, Volume(labels.data, moved))
    diagnosis = diagnose([tmp_path / "in"], quiet=True)
    (report,) = diagnosis.reports
    assert report.label_offset_mm == pytest.approx(5)
    assert any("up to 5.0 mm away" in text for text in report.errors) and diagnosis.wrong
    hashes = {path: file_hash(path) for path in (tmp_path / "in").iterdir()}
    (line,) = write_fixed(diagnosis, tmp_path / "out")
    assert "the labels were moved onto their image, by up to 5.0 mm" in line
    assert hashes == {path: file_hash(path) for path in (tmp_path / "in").iterdir()}
    assert examined(tmp_path / "out").errors == ()
    mended = read_volume(tmp_path / "out/label_a.nii.gz").volume
    np.testing.assert_array_equal(mended.data, labels.data)
    np.testing.assert_allclose(mended.affine, image.affine, atol=1e-4)


def test_labels_on_another_grid_are_resampled_in_mm(tmp_path: Path) -> None:
    image, labels = made_case(degrees=(0, 0, 8))
    cut = labels.affine.copy()
    cut[:3, 3] += labels.affine[:3, 1] * 3
    other = Volume(np.ascontiguousarray(labels.data[:, 3:, :]), cut)
    write_pair(tmp_path / "in", "a", image, other)
    diagnosis = diagnose([tmp_path / "in"], quiet=True)
    (report,) = diagnosis.reports
    assert any("45" in text and "48" in text for text in report.errors)
    assert any("centres of labels and image lie 2.1 mm apart" in text for text in report.notes)
    write_fixed(diagnosis, tmp_path / "out")
    mended = read_volume(tmp_path / "out/label_a.nii.gz").volume
    for value in (1, 2, 3, 4):
        assert centroid(mended, value) == pytest.approx(centroid(labels, value), abs=0.01)


def test_voxels_without_a_value_are_mended(tmp_path: Path) -> None:
    image, labels = straight()
    data = image.data.astype(np.float32)
    data[2, 3, 4] = np.nan
    data[2, 3, 5] = np.inf
    write_pair(tmp_path / "in", "a", Volume(data, image.affine), labels)
    diagnosis = diagnose([tmp_path / "in"], quiet=True)
    assert "2 NaN or infinite voxels" in diagnosis.reports[0].errors[0]
    write_fixed(diagnosis, tmp_path / "out")
    mended = read_volume(tmp_path / "out/image_a.nii.gz").volume.data
    assert mended[2, 3, 4] == mended[2, 3, 5] == image.data.min()
    good = np.isfinite(data)
    np.testing.assert_array_equal(mended[good], data[good])
    assert examined(tmp_path / "out").errors == ()


def test_labels_that_are_no_whole_numbers_are_mended(tmp_path: Path) -> None:
    image, labels = straight()
    smooth = labels.data.astype(np.float32)
    smooth[labels.data == 2] = 2.04
    write_pair(tmp_path / "in", "a", image, Volume(smooth, labels.affine))
    diagnosis = diagnose([tmp_path / "in"], quiet=True)
    assert "no whole numbers" in diagnosis.reports[0].errors[0]
    write_fixed(diagnosis, tmp_path / "out")
    mended = read_volume(tmp_path / "out/label_a.nii.gz").volume
    np.testing.assert_array_equal(mended.data, labels.data)


def test_constant_and_clipped_slices_are_noted(tmp_path: Path) -> None:
    image, labels = straight()
    image.data[0] = 7
    image.data[3, :, 10:30] = image.data[4, 10:20, 10:20] = 999
    write_pair(tmp_path, "a", image, labels)
    report = examined(tmp_path)
    assert report.constant_slices == (0,) and report.clipped_slices == (3, 4)
    assert report.notes == (
        "constant slices: 0",
        "more than 2% at the highest value in slices 3-4",
    )


def test_headers_that_contradict_themselves_are_noted(tmp_path: Path) -> None:
    path = write_nifti(straight()[0], tmp_path / "image_a.nii.gz")
    file = nibabel.load(path)
    affine = file.affine.copy()
    affine[2, 3] += 12
    file.set_qform(affine, code=1)
    file.set_sform(file.affine, code=2)
    nibabel.save(file, path)
    assert any("sform and qform of the header lie 12.0 mm apart" in n for n in examined(path).notes)


def test_a_scan_twice_is_named_with_its_folds(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(tmp_path, str(number), *made_case(number % 5, degrees=(0, 0, 0)))
    reports = diagnose([tmp_path], quiet=True).reports
    assert [bool(report.errors) for report in reports] == [False] * 5 + [True]
    assert reports[5].errors == (
        "the same voxels as case 0, in folds 0 and 4: a scan is trained on and tested",
    )


def test_the_same_scan_stored_in_another_type_is_still_the_same(tmp_path: Path) -> None:
    image, _ = straight()
    write_pair(tmp_path, "a", image)
    write_pair(tmp_path, "b", Volume(image.data.astype(np.float32), image.affine))
    assert diagnose([tmp_path], quiet=True).reports[1].errors == ("the same voxels as case a",)


def test_what_cannot_be_read_is_an_error_and_cannot_be_mended(tmp_path: Path) -> None:
    (tmp_path / "image_a.nii.gz").write_bytes(b"no scan")
    diagnosis = diagnose([tmp_path / "image_a.nii.gz"], quiet=True)
    assert "image_a.nii.gz" in diagnosis.reports[0].errors[0]
    assert write_fixed(diagnosis, tmp_path / "out") == ["a: cannot be repaired"]
    assert not (tmp_path / "out").exists()


def test_a_data_set_as_downloaded(tmp_path: Path) -> None:
    write_chaos(tmp_path, 1, *straight())
    write_chaos(tmp_path, 4, *straight())
    diagnosis = diagnose([tmp_path], dataset="chaost2", quiet=True)
    folder, case = diagnosis.reports
    assert len(folder.errors) == 20 and "02: no scan" in folder.errors
    assert "04: not a case of CHAOS T2-SPIR (Abd-MRI)" in folder.errors
    assert case.case == "01" and case.errors == () and sorted(case.label_ml) == [1, 2, 3, 4]


def test_a_label_that_dataset_json_does_not_declare_is_noted_as_prepare_reads_it(
    tmp_path: Path,
) -> None:
    image, labels = straight()
    write_nnunet(tmp_path / "d", [(image, labels)] * 2, {1: "liver"})
    report, _ = diagnose([tmp_path / "d"], quiet=True).reports
    assert not any("unknown" in error for error in report.errors)
    assert sorted(report.label_ml) == [1, 2, 3, 4]
    assert any("labels 2, 3, 4 not declared in dataset.json" in note for note in report.notes)
    rules = {"changes": {"size": 48}, "supervoxel_size": 100}
    prepared = prepare(tmp_path / "d", tmp_path / "p", quiet=True, **rules)
    assert sorted(prepared.labels) == [1, 2, 3, 4]
    by_name, _ = diagnose([tmp_path / "d"], dataset="nnunet", quiet=True).reports
    assert any("2, 3, 4 are unknown" in error for error in by_name.errors)


def test_series_and_echoes_are_listed_so_that_they_can_be_chosen(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    image, _ = straight()
    for series in (1, 2):
        for number, path in enumerate(write_dicom(image, tmp_path / "raw")):
            for echo, time in enumerate((2.3, 4.6)[:series]):
                file = pydicom.dcmread(path)
                file.EchoTime, file.SeriesInstanceUID = time, f"1.2.{series}"
                file.SeriesNumber, file.SeriesDescription = series, "T2"[series - 1 :]
                file.SOPInstanceUID = f"1.2.{series}.{echo}.{number}"
                file.PixelData = (image.data[number] + series + echo).tobytes()
                (tmp_path / "study").mkdir(exist_ok=True)
                file.save_as(tmp_path / "study" / f"{series}{echo}{number}")
    one, first, second = diagnose([tmp_path / "study"], quiet=True).reports
    assert one.case == "study_1_T2"
    assert one.notes == ("series 1 of 2 in its folder (study_1_T2): choose it with --series 1",)
    assert (first.case, second.case) == ("study_2_2_echo_2.3_ms", "study_2_2_echo_4.6_ms")
    assert "volume 2 of 2 (echo_4.6_ms): choose it with --echo 2" in second.notes
    assert not (one.errors or first.errors or second.errors)
    chosen = diagnose([tmp_path / "study"], options=ReadOptions(part="4.6"), quiet=True).reports
    assert [report.intensity[1] - image.data.max() for report in chosen] == [1, 3]


def test_each_volume_of_a_cine_is_examined(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(8, 8, 5, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "cine.nii.gz")
    reports = diagnose([tmp_path], quiet=True).reports
    assert [report.case for report in reports] == ["cine_1", "cine_2", "cine_3"]
    assert [report.notes[0] for report in reports] == [
        f"volume {n} of 3 ({n}): choose it with --echo {n}" for n in (1, 2, 3)
    ]
    assert reports[1].intensity == (data[..., 1].min(), data[..., 1].max())


def test_scans_are_compared_with_the_labelled_one(tmp_path: Path) -> None:
    """A CT with labels; one that is not in HU, an MR, and one sliced in another plane."""
    image, labels = straight()
    random = np.random.default_rng(0)
    hu = random.integers(-900, 300, image.data.shape).astype(np.int16)
    write_pair(tmp_path, "a", Volume(hu, image.affine), labels)
    write_pair(tmp_path, "shifted", Volume(hu + 1000, image.affine))
    across = np.array([[6.0, 0, 0, 0], [0, 0, -1.6, 0], [0, -1.4, 0, 0], [0, 0, 0, 1]])
    write_pair(tmp_path, "sagittal", Volume(hu[:, ::-1], across))
    good, sagittal_notes, shifted = diagnose([tmp_path], quiet=True).reports
    assert good.notes == () and good.modality == "ct" and good.plane == "axial"
    assert sagittal_notes.notes == (
        "sliced in the sagittal plane, and the labelled scan a in the axial one: results will be "
        "poor",
    )
    assert "taken for CT like the labelled scan, but it looks like MR" in shifted.notes[0]
    assert "not in Hounsfield units" in shifted.notes[1]
    query, mask = tmp_path / "image_shifted.nii.gz", tmp_path / "label_a.nii.gz"
    labelled = SourceCase("labelled", tmp_path / "image_a.nii.gz", mask)
    first, second = diagnose([query], labelled=labelled, quiet=True).reports
    assert first.case == "labelled" and first.label_ml == good.label_ml
    assert second.notes == shifted.notes


def test_a_file_for_each_organ(tmp_path: Path) -> None:
    image, labels = straight()
    scan = write_nifti(image, tmp_path / "scan.nii.gz")
    files = [
        write_nifti(Volume((labels.data == v).astype(np.uint8), labels.affine), tmp_path / name)
        for v, name in ((2, "kidney.nii"), (1, "liver.nii"))
    ]
    report = examined(scan, label=OrganMasks(tuple(files), ("", "Leber")))
    ml = (labels.data == 1).sum() * 6 * 1.4 * 1.6 / 1000
    assert report.errors == () and report.label_ml[2] == pytest.approx(ml, abs=1e-3)


def test_a_folder_of_dicom_is_one_scan(tmp_path: Path) -> None:
    image, labels = straight()
    write_dicom(image, tmp_path / "series")
    label = write_nifti(labels, tmp_path / "label.nii.gz")
    report = examined(tmp_path / "series", label=label)
    assert report.errors == () and report.label_offset_mm == pytest.approx(0, abs=1e-3)


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    image, labels = straight()
    moved = labels.affine.copy()
    moved[0, 3] += 9
    write_pair(tmp_path, "a", image, Volume(labels.data, moved))
    with pytest.raises(ConfigError, match="exists; name an empty folder"):
        write_fixed(diagnose([tmp_path], quiet=True), tmp_path)


def test_misuse(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no scan found"):
        diagnose([tmp_path], quiet=True)
    for name in "ab":
        write_pair(tmp_path, name, straight()[0])
    with pytest.raises(ConfigError, match="--mask goes with one scan"):
        diagnose([tmp_path], label=tmp_path / "label.nii.gz", quiet=True)


def test_the_table_and_the_json_say_the_same(tmp_path: Path) -> None:
    write_pair(tmp_path, "good", *straight())
    (tmp_path / "image_bad.nii.gz").write_bytes(b"no scan")
    diagnosis = diagnose([tmp_path], quiet=True)
    data = json.loads(to_json(diagnosis))
    assert data["wrong"] is True
    assert {case["case"]: bool(case["errors"]) for case in data["cases"]} == {
        "bad": True,
        "good": False,
    }
    text = as_table(diagnosis)
    assert "6·48·40" in text and "LPS" in text
    assert sum("bad: wrong: " in line for line in text.splitlines()) == 1


def test_a_real_scan_is_good(real_scans: Callable[[str], Path]) -> None:
    folder = real_scans("chaos_t2spir")
    image, label = folder / "image_39.nii.gz", folder / "label_39.nii.gz"
    (report,) = diagnose([image], label=label, quiet=True).reports
    assert report.errors == ()
    assert report.spacing == pytest.approx((7.7, 1.25, 1.25), abs=1e-3)
    assert sorted(report.label_ml) == [1, 2, 3, 4]
    assert 800 < report.label_ml[1] < 3000  # a liver


def test_masks_of_an_earlier_run_are_no_scans(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 2)
    for name in ("image_01_seg.nii.gz", "other_seg.nii.gz"):
        shutil.copy(tmp_path / "label_01.nii.gz", tmp_path / name)
    result = tmp_path / "image_01_seg.nii.gz"
    ledger.write_record(result, {}, [result], {})
    cases = [report.case for report in diagnose([tmp_path]).reports]
    assert cases == ["01", "02"]  # nor is what is named like a mask, and holds labels


@pytest.mark.parametrize(
    ("spacing", "shape", "words"),
    [
        ((770.0, 125.0, 125.0), (8, 16, 16), "voxels of 770 and 125 and 125 mm"),
        ((0.0077, 1.0, 1.0), (8, 16, 16), "voxels of 0.0077 mm"),
        ((5.0, 1.0, 1.0), (1, 16, 16), "few slices (1)"),
    ],
)
def test_unlikely_geometry_is_noted(
    tmp_path: Path, spacing: tuple[float, ...], shape: tuple[int, ...], words: str
) -> None:
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_pair(tmp_path, "01", Volume(data, np.diag([*spacing, 1.0])[[2, 1, 0, 3]]))
    assert any(words in note for note in examined(tmp_path).notes)


def test_a_header_without_a_place_is_noted(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(16, 16, 8)), None)
    image.header.set_zooms((1.0, 1.0, 5.0))
    nibabel.save(image, tmp_path / "image_01.nii.gz")
    assert any("left and right are a guess" in note for note in examined(tmp_path).notes)
