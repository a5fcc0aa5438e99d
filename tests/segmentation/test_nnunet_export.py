"""Accepted masks become a raw data set of nnU-Net."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dpcenet.cli import app
from dpcenet.data.datasets.nnunet import find
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.segmentation.accepted import accepted_masks
from dpcenet.segmentation.review.quality import Flag
from dpcenet.system.files import write_json
from dpcenet.volumes.io import read_volume
from made_scans import write_results, write_scans

NAMES = {"2": "spleen", "4": "left kidney"}
FLAGS: tuple[Flag, ...] = ("accept", "look", "reject", "accept")


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """Four results as `dpcenet segment` leaves them, one flag each, the truth as their masks."""
    out = tmp_path / "project" / "masks"
    write_results(write_scans(tmp_path / "scans", 4), out, NAMES, FLAGS)
    return out


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", "nnunet", *map(str, arguments)])


def cases_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "labelsTr").iterdir())


def test_only_accepted_masks_go_along(reviewed: Path, tmp_path: Path) -> None:
    done = call(reviewed, "--dataset", 501, "-o", tmp_path / "raw")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "raw" / "Dataset501_dpcenet"
    assert cases_in(folder) == ["image_01.nii.gz", "image_04.nii.gz"]
    assert "left out: image_02: spleen: look, left kidney: look" in done.output
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "spleen": 1, "left kidney": 2}
    assert facts["channel_names"] == {"0": "MRI"} and facts["numTraining"] == 2


def test_labels_are_numbered_and_lie_on_the_scan(reviewed: Path, tmp_path: Path) -> None:
    call(reviewed, "--dataset", 1, "-o", tmp_path)
    folder = tmp_path / "Dataset001_dpcenet"
    truth = read_volume(tmp_path / "scans" / "label_01.nii.gz").volume
    written = read_volume(folder / "labelsTr" / "image_01.nii.gz").volume
    assert np.array_equal(written.data == 1, truth.data == 2)
    assert np.array_equal(written.data == 2, truth.data == 4)
    image = read_volume(folder / "imagesTr" / "image_01_0000.nii.gz").volume
    scan = read_volume(tmp_path / "scans" / "image_01.nii.gz").volume
    assert np.array_equal(image.data, scan.data)
    assert np.allclose(written.affine, scan.affine) and np.allclose(image.affine, scan.affine)


def test_what_it_writes_prepare_reads(reviewed: Path, tmp_path: Path) -> None:
    call(reviewed, "--dataset", 1, "-o", tmp_path)
    found = find(tmp_path / "Dataset001_dpcenet")
    assert found.labels == {1: "spleen", 2: "left kidney"} and found.modality == "mr"
    assert [case.name for case in found.cases] == ["image_01", "image_04"]


def test_persons_have_the_last_word(reviewed: Path, tmp_path: Path) -> None:
    """Corrected, accepted in the app, rejected in the app."""
    shutil.copy(tmp_path / "scans" / "label_01.nii.gz", reviewed / "image_02_seg.nii.gz")
    said = {"image_03": {"decision": "accept"}, "image_04": {"decision": "reject"}}
    write_json(reviewed.parent / "decisions.json", {"cases": said})
    accepted = accepted_masks(reviewed)
    assert [found.name for found, _ in accepted.masks] == ["image_01", "image_02", "image_03"]
    assert accepted.left_out == {"image_04": "a person rejected it"}


def test_labelled_scans_go_along(reviewed: Path, tmp_path: Path) -> None:
    image, mask = (tmp_path / "scans" / f"{kind}_03.nii.gz" for kind in ("image", "label"))
    given = ["--support-image", image, "--support-mask", mask]
    done = call(reviewed, "--dataset", 7, "-o", tmp_path, "--title", "organs", *given)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "Dataset007_organs"
    assert cases_in(folder) == ["image_01.nii.gz", "image_03.nii.gz", "image_04.nii.gz"]


def test_what_a_person_drew_is_not_replaced_by_a_result(reviewed: Path, tmp_path: Path) -> None:
    image, mask = (tmp_path / "scans" / f"{kind}_01.nii.gz" for kind in ("image", "label"))
    shutil.copy(tmp_path / "scans" / "label_02.nii.gz", reviewed / "image_01_seg.nii.gz")
    given = ["--support-image", image, "--support-mask", mask]
    done = call(reviewed, "--dataset", 8, "-o", tmp_path, *given)
    assert "2 cases" in done.output and "left out: image_01: a scan of this name" in done.output
    folder = tmp_path / "Dataset008_dpcenet"
    assert cases_in(folder) == ["image_01.nii.gz", "image_04.nii.gz"]
    written = read_volume(folder / "labelsTr" / "image_01.nii.gz").volume.data
    assert np.array_equal(written == 1, read_volume(mask).volume.data == 2)


def test_a_scan_that_changed_is_left_out(reviewed: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scans" / "image_01.nii.gz"
    shutil.copy(tmp_path / "scans" / "image_02.nii.gz", scan)
    (tmp_path / "scans" / "image_04.nii.gz").unlink()
    left_out = accepted_masks(reviewed).left_out
    assert left_out["image_01"].endswith("the scan has changed since")
    assert left_out["image_04"].endswith("the scan is not there any more")


def test_too_few_cases_and_an_older_data_set_are_refused(reviewed: Path, tmp_path: Path) -> None:
    call(reviewed, "--dataset", 501, "-o", tmp_path)
    again = call(reviewed, "--dataset", 501, "-o", tmp_path)
    assert isinstance(again.exception, ConfigError) and "is there already" in str(again.exception)
    (reviewed / "image_01_seg.nii.gz").unlink()
    few = call(reviewed, "--dataset", 502, "-o", tmp_path)
    assert isinstance(few.exception, DatasetError) and "image_02" in str(few.exception)
    none = call(tmp_path / "scans", "--dataset", 503, "-o", tmp_path)
    assert isinstance(none.exception, DatasetError) and "--out folder" in str(none.exception)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("nnunetv2"), reason="no nnU-Net (pip install nnunetv2)")
def test_nnunet_itself_finds_nothing_wrong(reviewed: Path, tmp_path: Path) -> None:
    call(reviewed, "--dataset", 501, "-o", tmp_path / "raw")
    folder = tmp_path / "raw" / "Dataset501_dpcenet"
    check = (
        "from nnunetv2.experiment_planning.verify_dataset_integrity import "
        "verify_dataset_integrity as verify\n"
        f"if __name__ == '__main__':\n    verify({str(folder)!r}, 1)\n"
    )
    script = tmp_path / "check.py"
    script.write_text(check)
    folders = ("raw", "preprocessed", "results")
    places = {f"nnUNet_{name}": str(tmp_path / name) for name in folders}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verify_dataset_integrity Done" in done.stdout, done.stdout
