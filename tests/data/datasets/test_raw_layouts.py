"""Each reader, on made scans in its raw layout: labels lie where they were put, in mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcenet.data.datasets import acdc, chaost2, cmr, lineage, msd, nnunet, sabs
from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.datasets.registry import DATASETS, dataset_spec
from dpcenet.data.datasets.spec import DatasetSpec, check_case, remap
from dpcenet.data.prepare_case import Rules
from dpcenet.errors import ConfigError, DatasetError, VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels
from raw_layouts import (
    centroid,
    made_case,
    write_acdc,
    write_chaos,
    write_msd,
    write_nifti,
    write_nnunet,
)

NAMES = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
BIG = (5, 300, 290)  # SABS loses 32 pixels at each side


def cmr_values(labels: Volume) -> Volume:
    return Volume(np.array([0, 200, 500, 600], np.int16)[labels.data], labels.affine)


def write_chaost2(folder: Path) -> tuple[Volume, Volume]:
    image, labels = made_case()
    write_chaos(folder, 8, image, labels)
    return image, labels


def write_sabs(folder: Path) -> tuple[Volume, Volume]:
    image, labels = made_case(shape=BIG, spacing=(3.0, 0.8, 0.8), degrees=(0, 0, 5))
    write_nifti(image, folder / "RawData" / "Training" / "img" / "img0021.nii.gz")
    write_nifti(labels, folder / "RawData" / "Training" / "label" / "label0021.nii.gz")
    return image, labels


def write_cmr(folder: Path) -> tuple[Volume, Volume]:
    image, labels = made_case(values=(1, 2, 3), degrees=(40, 25, -30))
    write_nifti(image, folder / "c0t2lge" / "patient3_C0.nii.gz")
    write_nifti(image, folder / "c0t2lge" / "patient3_T2.nii.gz")
    write_nifti(cmr_values(labels), folder / "c0gt" / "patient3_C0_manual.nii.gz")
    return image, labels


def write_one_acdc(folder: Path) -> tuple[Volume, Volume]:
    image, labels = made_case(values=(1, 2, 3), spacing=(8.0, 1.6, 1.6))
    write_acdc(folder, 7, image, labels)
    return image, labels


def write_one_msd(folder: Path) -> tuple[Volume, Volume]:
    case = made_case()
    write_msd(folder, [case], NAMES)
    return case


def write_two_nnunet(folder: Path) -> tuple[Volume, Volume]:
    case = made_case()
    write_nnunet(folder, [case, made_case(1)], NAMES)
    return case


def write_lineage(folder: Path) -> tuple[Volume, Volume]:
    image, labels = made_case()
    write_nifti(image, folder / "image_8.nii.gz")
    write_nifti(labels, folder / "label_8.nii.gz")
    write_nifti(image, folder / "superpix-MIDDLE_8.nii.gz")
    return image, labels


LAYOUTS: list[tuple[DatasetSpec, Callable[[Path], tuple[Volume, Volume]], str]] = [
    (chaost2.SPEC, write_chaost2, "08"),
    (sabs.SPEC, write_sabs, "0021"),
    (cmr.SPEC, write_cmr, "03"),
    (acdc.SPEC, write_one_acdc, "patient007_ED"),
    (msd.SPEC, write_one_msd, "spleen_0"),
    (nnunet.SPEC, write_two_nnunet, "case_000"),
    (lineage.SPEC, write_lineage, "8"),
    (lineage.CHAOST2, write_lineage, "08"),
]


@pytest.mark.parametrize(("spec", "write", "name"), LAYOUTS, ids=[s.name for s, *_ in LAYOUTS])
def test_labels_come_out_where_they_were_put(
    spec: DatasetSpec, write: Callable[[Path], tuple[Volume, Volume]], name: str, tmp_path: Path
) -> None:
    _, truth = write(tmp_path)
    case = find_cases(tmp_path, spec).cases[0]
    assert case.name == name
    raw = spec.read(case)
    check_case(raw, case, spec.labels)
    rules = Rules(spec.preprocessing or Preprocessing.for_mr(), pixel_step=spec.pixel_step)
    small = replace(rules, preprocessing=replace(rules.preprocessing, size=160))
    _, record = preprocess(raw.scan, small.of(raw.scan.volume))
    assert raw.labels is not None
    prepared = Volume(preprocess_labels(raw.labels, record), record.affine)
    values = [value for value in np.unique(truth.data).tolist() if value]
    assert set(np.unique(prepared.data).tolist()) == {0, *values}
    for value in values:
        apart_mm = centroid(prepared, value) - centroid(truth, value)
        off = np.linalg.inv(record.affine[:3, :3]) @ apart_mm
        assert np.abs(off).max() < 1, (value, off)


def test_chaos_pictures_belong_to_the_slice_of_their_file(tmp_path: Path) -> None:
    """Voxel for voxel: files run from head to feet, pictures are in file order."""
    image, labels = write_chaost2(tmp_path)
    raw = chaost2.read(chaost2.find(tmp_path).cases[0])
    np.testing.assert_array_equal(raw.scan.volume.data, image.data)
    assert raw.labels is not None
    np.testing.assert_array_equal(raw.labels.data, labels.data)
    np.testing.assert_allclose(raw.scan.volume.affine, image.affine, atol=1e-6)


def test_chaos_pictures_with_other_names_go_by_rank(tmp_path: Path) -> None:
    """Also where "2" has no zero in front, and "10" comes before it by its letters."""
    image, labels = made_case(shape=(12, 48, 40))
    write_chaos(tmp_path, 1, image, labels)
    case = chaost2.find(tmp_path).cases[0]
    assert case.label is not None
    for number, path in enumerate(sorted(case.label.glob("*.png")), start=1):
        path.rename(path.with_name(f"{number}.png"))
    raw = chaost2.read(case)
    assert raw.labels is not None
    np.testing.assert_array_equal(raw.labels.data, labels.data)


def test_chaos_greys_count_by_value_not_by_rank(tmp_path: Path) -> None:
    """A scan without a right kidney: ranks would call the left one right."""
    image, labels = made_case()
    labels.data[labels.data == 2] = 0
    write_chaos(tmp_path, 1, image, labels)
    raw = chaost2.read(chaost2.find(tmp_path).cases[0])
    assert raw.labels is not None
    assert np.unique(raw.labels.data).tolist() == [0, 1, 3, 4]


def test_chaos_names_what_is_wrong(tmp_path: Path) -> None:
    write_chaost2(tmp_path)
    case = chaost2.find(tmp_path).cases[0]
    assert case.label is not None
    picture = next(iter(sorted(case.label.glob("*.png"))))
    Image.fromarray(np.full((48, 40), 99, np.uint8)).save(picture)
    with pytest.raises(VolumeError, match=r"Ground: label values 99 are unknown"):
        chaost2.read(case)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    with pytest.raises(VolumeError, match=f"{picture.name}: the picture is 4 x 4"):
        chaost2.read(case)
    picture.write_bytes(b"no picture")
    with pytest.raises(VolumeError, match=f"{picture.name}: cannot be read"):
        chaost2.read(case)
    picture.unlink()
    with pytest.raises(VolumeError, match="5 label pictures for 6 slices"):
        chaost2.read(case)


def test_a_patient_must_not_be_there_twice(tmp_path: Path) -> None:
    write_chaos(tmp_path / "a", 1, *made_case())
    write_chaos(tmp_path / "b", 1, *made_case())
    with pytest.raises(DatasetError, match="patient 01 twice"):
        chaost2.find(tmp_path)


def test_sabs_is_256_wide_and_257_on_request(tmp_path: Path) -> None:
    """The lineage makes 257 pixels of 512; its row 256 lies beyond the 448 that were kept."""
    image = np.zeros((2, 512, 512), np.int16)
    image[:, 100:400, 100:400] = 90
    write_nifti(Volume(image, np.diag([5.0, 0.7, 0.7, 1])), tmp_path / "img0001.nii.gz")
    raw = sabs.read(sabs.find(tmp_path).cases[0])
    assert raw.scan.volume.data.shape == (2, 448, 448)
    assert sabs.SPEC.preprocessing is not None
    shapes = {}
    for size in (256, 257):
        rules = Rules(replace(sabs.SPEC.preprocessing, size=size), pixel_step=sabs.SPEC.pixel_step)
        prepared, record = preprocess(raw.scan, rules.of(raw.scan.volume))
        shapes[size] = prepared.image
        assert record.step[1:] == pytest.approx((1.75, 1.75))
        assert record.offset == (0, 0, 0)
    assert shapes[256].shape == (2, 256, 256) and shapes[257].shape == (2, 257, 257)
    # The same pixels, but for the normalisation, which the defect's row and column shift.
    a, b = shapes[256], shapes[257][:, :256, :256]
    np.testing.assert_allclose((a - a.mean()) / a.std(), (b - b.mean()) / b.std(), atol=1e-4)


def test_cmr_values_are_200_500_600(tmp_path: Path) -> None:
    image, labels = made_case(values=(1, 2, 3))
    write_nifti(image, tmp_path / "patient1_C0.nii.gz")
    wrong = Volume(labels.data * 100, labels.affine)
    write_nifti(wrong, tmp_path / "patient1_C0_manual.nii.gz")
    with pytest.raises(VolumeError, match=r"patient1_C0_manual.*100, 300 are unknown.*200, 500"):
        cmr.SPEC.read(cmr.find(tmp_path).cases[0])


def test_lineage_cmr_knows_both_ways_of_storing_labels(tmp_path: Path) -> None:
    image, labels = made_case(values=(1, 2, 3))
    for number, stored in ((1, labels), (2, cmr_values(labels))):
        write_nifti(image, tmp_path / f"image_{number}.nii.gz")
        write_nifti(stored, tmp_path / f"label_{number}.nii.gz")
    cases = lineage.CMR.find(tmp_path).cases
    assert [case.name for case in cases] == ["01", "02"]
    for case in cases:
        raw = lineage.CMR.read(case)
        assert raw.labels is not None
        np.testing.assert_array_equal(raw.labels.data, labels.data)


def test_lineage_numbers_are_in_numeric_order(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write_nifti(made_case()[0], tmp_path / f"image_{number}.nii.gz")
    assert [case.name for case in lineage.find(tmp_path).cases] == ["1", "9", "10"]
    names = [case.name for case in lineage.SABS.find(tmp_path).cases]
    assert names == ["0002", "0010", "0021"]  # file 0 of the lineage is img0001
    with pytest.raises(DatasetError, match="image_9 is not a number"):
        lineage.CHAOST2.find(tmp_path)


def test_acdc_frames_come_from_info_cfg(tmp_path: Path) -> None:
    place = write_acdc(tmp_path, 2, *made_case(values=(1, 2, 3)), es=9)
    cases = acdc.find(tmp_path).cases
    assert [(case.name, case.image.name) for case in cases] == [
        ("patient002_ED", "patient002_frame01.nii.gz"),
        ("patient002_ES", "patient002_frame09.nii.gz"),
    ]
    (place / "Info.cfg").write_text("ED: 1\n")
    with pytest.raises(DatasetError, match=r"Info.cfg: names \['ED'\]"):
        acdc.find(tmp_path)


def test_labels_off_their_scan_are_named_with_the_distance(tmp_path: Path) -> None:
    image, labels = made_case()
    moved = labels.affine.copy()
    moved[:3, 3] += (0, 3, 4)
    write_nifti(image, tmp_path / "image_1.nii.gz")
    write_nifti(Volume(labels.data, moved), tmp_path / "label_1.nii.gz")
    case = lineage.find(tmp_path).cases[0]
    with pytest.raises(VolumeError, match=r"label_1.nii.gz: the mask lies up to 5\.0 mm away"):
        check_case(lineage.SPEC.read(case), case, ())


def test_unknown_label_values_are_named(tmp_path: Path) -> None:
    image, labels = made_case(values=(1, 2, 7))
    write_msd(tmp_path, [(image, labels)], {1: "liver", 2: "tumour"})
    found = msd.find(tmp_path)
    case = found.cases[0]
    with pytest.raises(VolumeError, match=r"spleen_0.nii.gz: label values 7 are unknown"):
        check_case(msd.SPEC.read(case), case, found.labels)


@pytest.mark.parametrize(("module", "channels"), [(msd, "modality"), (nnunet, "channel_names")])
def test_several_channels_are_refused(module: object, channels: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(
        f'{{"{channels}": {{"0": "T2", "1": "ADC"}}, "labels": {{}}, "training": []}}'
    )
    with pytest.raises(DatasetError, match="2 channels"):
        module.find(tmp_path)  # type: ignore[attr-defined]


def test_a_few_of_many_unknown_values_are_named_and_nearly_whole_ones_are_known() -> None:
    """A scan in place of its labels has thousands of values; some programs store 0.99999."""
    scan = Volume(np.arange(1000.0).reshape(10, 10, 10), np.eye(4))
    with pytest.raises(VolumeError, match=r"values 2, 3, 4, 5, 6, 7, 8, 9, … are unknown"):
        remap(scan, {1: 1}, "m")
    nearly = Volume(np.full((2, 2, 2), 0.99999), np.eye(4))
    assert (remap(nearly, {1: 3}, "m").data == 3).all()
    for value in (np.nan, np.inf, 0.9):
        with pytest.raises(VolumeError, match="are unknown"):
            remap(Volume(np.full((2, 2, 2), value), np.eye(4)), {1: 3}, "m")


def test_nnunet_label_without_image_is_named(tmp_path: Path) -> None:
    write_nnunet(tmp_path, [made_case(), made_case(1)], NAMES)
    (tmp_path / "imagesTr" / "case_000_0000.nii.gz").unlink()
    with pytest.raises(DatasetError, match="label without image: case_000"):
        nnunet.find(tmp_path)


def test_the_table_and_its_specs_agree() -> None:
    for name, spec in DATASETS.items():
        assert spec.name == name
        assert len(set(spec.cases)) == len(spec.cases)
        assert set(spec.subjects) <= set(spec.cases)
        for values in spec.groups.values():
            assert set(values) <= set(spec.labels)
        if spec.folds:
            assert spec.licence and spec.citation and spec.address.startswith("http")
    with pytest.raises(ConfigError, match="choose one of chaost2"):
        dataset_spec("chaos")


def test_groups_of_setting_2_hold_the_organs_of_their_name() -> None:
    for spec in (chaost2.SPEC, sabs.SPEC):
        named = {group: {spec.labels[v] for v in values} for group, values in spec.groups.items()}
        assert named == {"upper": {"liver", "spleen"}, "lower": {"right kidney", "left kidney"}}
