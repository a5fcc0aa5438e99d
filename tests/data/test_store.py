"""A prepared data set as read back: its arrays, its origin, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.datasets.registry import DATASETS
from dpcenet.data.store import Origin, open_dataset
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.system.validated import validated
from made import write_prepared


def test_arrays_stay_on_disk_and_cannot_be_changed(tmp_path: Path) -> None:
    dataset = open_dataset(write_prepared(tmp_path, count=2))
    case = dataset.case("case1")
    assert isinstance(case.image, np.memmap) and case.image.dtype == np.float32
    assert case.label.shape == case.image.shape == case.supervoxels.shape
    with pytest.raises(ValueError, match="read-only"):
        case.image[0] = 0
    with pytest.raises(DatasetError, match=r"no case 'nobody'.*case0.*case1"):
        dataset.case("nobody")


def test_a_scan_without_labels_says_so(tmp_path: Path) -> None:
    case = open_dataset(write_prepared(tmp_path, count=1, labelled=False)).cases[0]
    assert not case.labelled
    with pytest.raises(DatasetError, match="case0 has no labels"):
        _ = case.label


@pytest.mark.parametrize("spacing", [[5.0, 1.2], [5.0, 1.2, 0], [5.0, "1.2", 1.2]])
def test_a_spacing_that_is_none_is_refused(tmp_path: Path, spacing: list[object]) -> None:
    case = open_dataset(write_prepared(tmp_path, count=1)).cases[0]
    assert len(case.spacing) == 3
    path = case.folder / "case.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "spacing": spacing}))
    again = open_dataset(tmp_path).cases[0]
    with pytest.raises(
        DatasetError, match=r"case\.json: its spacing is \[5.*run `dpcenet prepare`"
    ):
        _ = again.spacing


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    case = open_dataset(write_prepared(tmp_path, count=1)).cases[0]
    (case.folder / "image.npy").unlink()
    with pytest.raises(DatasetError, match=r"image\.npy: cannot be opened.*run prepare again"):
        _ = case.image


@pytest.mark.parametrize("text", [None, "no JSON", json.dumps({"format": 99})])
def test_what_is_no_prepared_data_set_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_an_origin_survives_its_manifest(name: str) -> None:
    spec = DATASETS[name]
    text = json.dumps(spec.to_json())
    origin = validated(Origin, json.loads(text), "manifest.json")
    assert type(origin) is Origin
    for key in ("name", "title", "folds", "subjects", "groups", "licence", "citation", "address"):
        assert getattr(origin, key) == getattr(spec, key)
    assert origin.no_groups == ("" if spec.groups else spec.no_groups)


def test_groups_are_refused_where_there_are_none(tmp_path: Path) -> None:
    dataset = open_dataset(write_prepared(tmp_path, count=1))
    with pytest.raises(ConfigError, match="--group upper: no groups of organs"):
        dataset.group("upper")
