"""Trees of scans: which scans are found, and which masks are whose."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from dpcenet.data.datasets.folder import SPEC, find_cases
from dpcenet.data.datasets.spec import SourceCase
from dpcenet.data.prepare import prepare
from dpcenet.errors import DatasetError
from dpcenet.segmentation.queries import find_queries
from dpcenet.types import Volume
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.scan_file import Labels
from dpcenet.volumes.write_masks import write_labels, write_mask
from raw_layouts import made_case, write_dicom, write_nifti


def cases_of(folder: Path) -> dict[str, SourceCase]:
    """The cases of a folder by their names; the scans are those of `segment`."""
    cases = find_cases(folder).cases
    scans = {file for query in find_queries([folder]) for file in query.files}
    files = {f for c in cases for f in ([c.image] if isinstance(c.image, Path) else c.image.files)}
    assert files == scans
    return {case.name: case for case in cases}


def organs(folder: Path, labels: Volume, names: dict[str, int]) -> None:
    """A file for each organ, as TotalSegmentator writes them."""
    for name, value in names.items():
        mask = Volume((labels.data == value).astype(np.uint8), labels.affine)
        write_nifti(mask, folder / f"{name}.nii.gz")


def test_a_nested_tree_of_pairs_and_of_scans_without_labels(tmp_path: Path) -> None:
    image, labels = made_case()
    write_nifti(image, tmp_path / "site1/image_1.nii.gz")
    write_nifti(labels, tmp_path / "site1/label_1.nii")
    write_nifti(image, tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    write_nifti(labels, tmp_path / "derivatives/sub-01/anat/sub-01_label-organs.nii.gz")
    write_nifti(image, tmp_path / "p2/scan.nii.gz")
    write_nifti(labels, tmp_path / "p2/scan_mask.nii.gz")
    found = cases_of(tmp_path)
    assert {name: case.label for name, case in found.items()} == {
        "site1_1": tmp_path / "site1/label_1.nii",
        "sub-01_anat_sub-01_T2w": None,
        "p2_scan": tmp_path / "p2/scan_mask.nii.gz",
    }


def test_organs_have_one_value_in_all_cases(tmp_path: Path) -> None:
    image, labels = made_case()
    for case, names in (("s1", {"spleen": 4, "liver": 1}), ("s2", {"kidney": 2, "spleen": 4})):
        write_nifti(image, tmp_path / case / "ct.nii.gz")
        organs(tmp_path / case / "segmentations", labels, names)
    write_nifti(image, tmp_path / "s3/ct.nii.gz")
    organs(tmp_path / "s3" / "segmentations", labels, {"spleen": 4})
    source = find_cases(tmp_path)
    assert source.labels == {1: "kidney", 2: "liver", 3: "spleen"}
    assert [case.name for case in source.cases] == ["s1_ct", "s2_ct", "s3_ct"]
    assert source.cases[2].label == OrganMasks(
        (tmp_path / "s3/segmentations/spleen.nii.gz",), ("spleen",), (3,)
    )
    for case in source.cases:
        raw = SPEC.read(case)
        assert raw.labels is not None
        np.testing.assert_array_equal(raw.labels.data == 3, labels.data == 4)
    options = {"changes": {"size": 48}, "supervoxel_size": 100, "quiet": True}
    prepared = prepare(tmp_path, tmp_path.with_name("out"), **options)
    assert prepared.labels == source.labels
    assert [sorted(np.unique(case.label)) for case in prepared.cases] == [
        [0, 2, 3],
        [0, 1, 3],
        [0, 3],
    ]


def test_series_in_folders_with_masks_that_refer_to_them(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    for patient in (1, 2):
        image, labels = made_case(patient)
        write_dicom(image, tmp_path / f"P{patient}/2")
        for number, file in enumerate(sorted((tmp_path / f"P{patient}/2").iterdir())):
            file.rename(file.with_name(f"IM{number}"))
        scan = read_volume(tmp_path / f"P{patient}/2")
        where = tmp_path / f"P{patient}/9000/SEG1.dcm"
        where.parent.mkdir()
        write_labels(labels.data, where, scan, {1: "Liver", 2: "Spleen"}, Algorithm("0", "test"))
    write_nifti(made_case(3)[0], tmp_path / "P3/scan.nii.gz")
    found = cases_of(tmp_path)
    assert {name: case.label for name, case in found.items()} == {
        "P1_2": tmp_path / "P1/9000/SEG1.dcm",
        "P2_2": tmp_path / "P2/9000/SEG1.dcm",
        "P3_scan": None,
    }
    raw = SPEC.read(found["P2_2"])
    assert raw.labels is not None and raw.names == {1: "Liver", 2: "Spleen"}
    np.testing.assert_array_equal(raw.labels.data == 2, made_case(2)[1].data == 2)


def test_one_series_beside_a_mask(tmp_path: Path) -> None:
    image, labels = made_case()
    write_dicom(image, tmp_path / "series")
    write_nifti(labels, tmp_path / "labels.nii.gz")
    assert cases_of(tmp_path)["series"].label == tmp_path / "labels.nii.gz"


def test_a_number_that_is_two_organs_is_refused(tmp_path: Path) -> None:
    for case, name in (("a", "liver"), ("b", "spleen")):
        image, labels = made_case()
        scan = read_volume(write_nifti(image, tmp_path / f"in/image_{case}.nii.gz"))
        write_mask(
            (labels.data == 1).astype(np.uint8),
            tmp_path / f"in/label_{case}.nii.gz",
            scan.grid,
            Labels({1: name}),
        )
    with pytest.raises(DatasetError, match="label 1 is 'liver' in case a and 'spleen' in case b"):
        prepare(
            tmp_path / "in", tmp_path / "out", changes={"size": 48}, supervoxel_size=100, quiet=True
        )


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    image, labels = made_case()
    write_nifti(image, tmp_path / "image_1.nii.gz")
    write_nifti(labels, tmp_path / "label_1.nii.gz")
    write_nifti(labels, tmp_path / "label_2.nii.gz")
    with pytest.raises(DatasetError, match="label without image: 2"):
        find_cases(tmp_path)
    (tmp_path / "label_2.nii.gz").rename(tmp_path / "label_1.nii")
    with pytest.raises(DatasetError, match="one name with several endings: label_1"):
        find_cases(tmp_path)
    (tmp_path / "label_1.nii").unlink()
    write_nifti(image, tmp_path / "1.nii.gz")
    with pytest.raises(DatasetError, match="several files for one case: 1"):
        find_cases(tmp_path)


def test_kind_of_scan_by_the_scans(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    affine = made_case()[0].affine
    for number in (1, 2):
        hu = random.integers(-900, 300, (6, 48, 40)).astype(np.int16)
        write_nifti(Volume(hu, affine), tmp_path / f"in/{number}.nii.gz")
    options = {"changes": {"size": 48}, "supervoxel_size": 100, "quiet": True}
    prepared = prepare(tmp_path / "in", tmp_path / "out", **options)
    assert prepared.modality == "ct"
    write_nifti(made_case()[0], tmp_path / "in/3.nii.gz")
    with pytest.raises(DatasetError, match="2 of 3 scans look like CT"):
        prepare(tmp_path / "in", tmp_path / "out", **options)


def test_a_name_that_two_systems_store_differently_is_one_name(tmp_path: Path) -> None:
    """ "ü" is one character on Linux and two where a Mac wrote the file."""
    image, labels = made_case()
    write_nifti(image, tmp_path / f"image_{normalize('NFC', 'Müller')}.nii.gz")
    write_nifti(labels, tmp_path / f"label_{normalize('NFD', 'Müller')}.nii.gz")
    (case,) = find_cases(tmp_path).cases
    assert case.label is not None
