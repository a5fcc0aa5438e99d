"""`prepare --dataset`, `doctor` and `inspect` as commands: exit codes and what is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dpcenet.__main__ import main
from dpcenet.cli.app import DATASET_HELP
from dpcenet.data.datasets.registry import DATASETS
from dpcenet.data.store import open_dataset
from dpcenet.evaluation.protocols import EACH_SLICE
from dpcenet.system.files import read_json
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train
from dpcenet.types import Volume
from made import tiny_config, write_prepared
from raw_layouts import made_case, write_acdc, write_nifti


@pytest.fixture
def dpcenet(monkeypatch: pytest.MonkeyPatch):
    """Runs a command; gives its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["dpcenet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0)

    return call


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in (1, 2):
        image, labels = made_case(number, degrees=(0, 0, 0))
        write_nifti(image, folder / f"image_{number}.nii.gz")
        write_nifti(labels, folder / f"label_{number}.nii.gz")
    return folder


def test_the_help_names_every_data_set() -> None:
    named = DATASET_HELP.partition(", or one of another package")[0]
    assert set(named.split(", ")) == set(DATASETS)


def test_prepare_a_data_set(dpcenet, scans: Path, tmp_path: Path, capsys) -> None:
    command = ["prepare", scans, tmp_path / "out", "--dataset", "chaost2-lineage"]
    assert dpcenet(*command, "--size", 48, "--supervoxel-size", 100) == 2  # 18 scans are missing
    error = capsys.readouterr().err
    assert "18 of 20 cases failed" in error and "  03: no scan" in error
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["dataset"]["name"] == "chaost2-lineage"
    assert manifest["preprocessing"]["size"] == 48
    assert manifest["preprocessing"]["overflow"] == "crop"


def test_rules_of_a_folder_can_be_switched(dpcenet, scans: Path, tmp_path: Path) -> None:
    rules = ["--overflow", "crop", "--size", 48, "--spacing", "1.5", "--slice-spacing", "3"]
    assert dpcenet("prepare", scans, tmp_path / "out", *rules, "--supervoxel-size", 100) == 0
    dataset = open_dataset(tmp_path / "out")
    assert dataset.cases[0].spacing == pytest.approx((3, 1.5, 1.5))
    assert "dataset" not in read_json(tmp_path / "out/manifest.json")


def test_doctor_exit_codes(dpcenet, scans: Path, tmp_path: Path, capsys) -> None:
    assert dpcenet("doctor", scans, "--json") == 0
    assert json.loads(capsys.readouterr().out)["wrong"] is False
    image, labels = made_case(3, degrees=(0, 0, 0))
    moved = labels.affine.copy()
    moved[0, 3] += 30
    write_nifti(image, scans / "image_3.nii.gz")
    write_nifti(Volume(labels.data, moved), scans / "label_3.nii.gz")
    assert dpcenet("doctor", scans, "--fix", tmp_path / "fixed") == 1
    said = capsys.readouterr()
    assert "3: wrong:" in said.out and "up to 30.0 mm away" in said.out
    assert "the labels were moved onto their image" in said.err
    assert dpcenet("doctor", tmp_path / "fixed") == 0
    assert sorted(p.name for p in (tmp_path / "fixed").iterdir()) == [
        "image_3.nii.gz",
        "label_3.nii.gz",
    ]
    assert dpcenet("doctor", tmp_path / "nowhere") == 2
    assert dpcenet("doctor", scans, "--mask", scans / "label_1.nii.gz") == 2
    assert dpcenet("doctor", scans, "--dataset", "nonsense") == 2


def test_doctor_of_a_prepared_set(dpcenet, tmp_path: Path, capsys) -> None:
    data = write_prepared(tmp_path / "data", count=2)
    assert dpcenet("doctor", data) == 0
    (data / "cases/case1/label.npy").write_bytes(b"damaged")
    assert dpcenet("doctor", data) == 1
    assert "an array is missing or changed" in capsys.readouterr().out


def test_inspect(dpcenet, tmp_path: Path, capsys) -> None:
    data = write_prepared(tmp_path / "data", count=2)
    assert dpcenet("inspect", data) == 0
    assert Path(capsys.readouterr().out.strip()) == data / "inspect/index.html"
    assert (data / "inspect/contact.png").is_file()
    assert dpcenet("inspect", tmp_path) == 2


def test_groups_of_hearts_are_refused_with_the_reason(dpcenet, tmp_path: Path, capsys) -> None:
    write_acdc(tmp_path / "raw", 1, *made_case(values=(1, 2, 3)))
    quick = ["--size", 48, "--supervoxel-size", 100]
    assert dpcenet("prepare", tmp_path / "raw", tmp_path / "out", "--dataset", "acdc", *quick) == 2
    flags = ["--data", tmp_path / "out", "--run", tmp_path / "run", "--setting", 2]
    assert dpcenet("train", "copy/plain", *flags, "--group", "upper") == 2
    assert "slices of the heart show its structures together" in capsys.readouterr().err
    assert dpcenet("train", "copy/plain", *flags, "--group", "upper", "--test-labels", "1") == 2


def test_evaluate_says_which_rules_it_used(dpcenet, tmp_path: Path, capsys) -> None:
    data = write_prepared(tmp_path / "data")
    train(tiny_config(1), RunFlags(data, fold=0), tmp_path / "run", quiet=True)
    for protocol in ("paper", "ep2"):
        assert dpcenet("evaluate", tmp_path / "run", "--protocol", protocol) == 0
    said = capsys.readouterr().out
    assert "EP1: looks at the query's truth" in said and "EP2: one support slice" in said
    assert "folds disjoint; setting 1" in said
    assert dpcenet("evaluate", tmp_path / "run", "--as-volume") == 0
    summary = read_json(tmp_path / "run" / "summary-paper-volume.json")
    assert summary["chunks"] == EACH_SLICE
    assert "each slice by the labelled one at its height" in capsys.readouterr().out
