"""dataset.json of nnU-Net (versions 1 and 2) and of the Decathlon, recognised without a flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpcenet.data.datasets.folder import SPEC, find_cases
from dpcenet.errors import DatasetError, VolumeError
from dpcenet.types import Volume
from raw_layouts import made_case, write_msd, write_nifti, write_nnunet

NAMES = dict(enumerate(("liver", "right kidney", "left kidney", "spleen"), start=1))


def change(folder: Path, **facts: Any) -> None:
    """Replace entries of dataset.json."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_the_decathlon_without_a_flag(tmp_path: Path) -> None:
    write_msd(tmp_path, [made_case(), made_case(1)], NAMES)
    found = find_cases(tmp_path)
    assert found.labels == NAMES and found.modality == "ct"
    assert [case.name for case in found.cases] == ["spleen_0", "spleen_1"]
    assert all(case.label is not None for case in found.cases)


def test_version_1_leaves_the_channel_out_of_its_list(tmp_path: Path) -> None:
    write_msd(tmp_path, [made_case(), made_case(1)], NAMES)
    for number in (0, 1):
        file = tmp_path / f"imagesTr/spleen_{number}.nii.gz"
        file.rename(file.with_name(f"spleen_{number}_0000.nii.gz"))
    write_nifti(made_case(2)[0], tmp_path / "imagesTs/spleen_2_0000.nii.gz")
    change(tmp_path, modality={"0": "MRI"}, test=["./imagesTs/spleen_2.nii.gz", "./gone.nii.gz"])
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["spleen_0", "spleen_1", "spleen_2"]
    assert found.modality == "mr" and found.cases[2].label is None
    labels = SPEC.read(found.cases[1]).labels
    assert labels is not None
    np.testing.assert_array_equal(labels.data, made_case(1)[1].data)


def test_regions_become_their_parts(tmp_path: Path) -> None:
    write_nnunet(tmp_path, [made_case(), made_case(1)], NAMES)
    regions = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3, "x": [4]}
    change(tmp_path, labels=regions, regions_class_order=[1, 2, 3])
    assert find_cases(tmp_path).labels == {
        1: "whole tumour, part 1",
        2: "core, part 2",
        3: "enhancing",
        4: "x",
    }


def test_what_is_to_be_ignored_is_not_labelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image, labels = made_case()
    write_nnunet(tmp_path, [(image, labels), made_case(1)], NAMES)
    change(tmp_path, labels={"background": 0, "liver": 1, "kidney": 2, "other": 3, "ignore": 4})
    found = find_cases(tmp_path)
    assert found.labels == {1: "liver", 2: "kidney", 3: "other"}
    assert "voxels of the label 'ignore' count as not labelled" in caplog.text
    raw = SPEC.read(found.cases[0])
    assert raw.labels is not None
    expected = np.where(labels.data == 4, 0, labels.data)
    np.testing.assert_array_equal(raw.labels.data, expected)
    count = int((labels.data == 4).sum())
    assert raw.notes == (f"{count:,} voxels of label 4: taken as not labelled",)
    seven = Volume(np.where(labels.data == 3, 7, labels.data), labels.affine)
    write_nifti(seven, tmp_path / "labelsTr/case_000.nii.gz")
    with pytest.raises(VolumeError, match="label values 7 are unknown"):
        SPEC.read(found.cases[0])


def test_version_2_with_a_list_of_files(tmp_path: Path) -> None:
    image, labels = made_case()
    write_nnunet(tmp_path, [(image, labels)], NAMES)
    write_nifti(image, tmp_path / "anywhere/a.nii.gz")
    write_nifti(labels, tmp_path / "anywhere/b.nii.gz")
    case = {"images": ["anywhere/a.nii.gz"], "label": "anywhere/b.nii.gz"}
    change(tmp_path, dataset={"c1": case})
    (found,) = find_cases(tmp_path).cases
    assert (found.name, found.label) == ("c1", tmp_path / "anywhere/b.nii.gz")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"labels": {}}',
        '{"modality": {"0": "CT"}}',
        '{"channel_names": 3, "labels": {}}',
    ],
)
def test_another_dataset_json_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json: ") as error:
        find_cases(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../../evil", "..", ".", "", "a/b", "a\\b", "a\0b"])
def test_a_case_whose_name_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Prepared cases lie in folders of their names."""
    write_nnunet(tmp_path, [made_case(), made_case(1)], NAMES)
    files = {"images": ["imagesTr/case_000_0000.nii.gz"], "label": "labelsTr/case_000.nii.gz"}
    change(tmp_path, dataset={"case_000": files})
    assert [case.name for case in find_cases(tmp_path).cases] == ["case_000"]
    change(tmp_path, dataset={name: files})
    with pytest.raises(DatasetError, match="which is no name of a folder; rename it"):
        find_cases(tmp_path)
