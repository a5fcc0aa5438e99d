"""The command line as a person meets it: the whole way, and what mistakes look like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.data.phantom.phantom import write_phantoms

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dpcenet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_phantoms(folder, 4, shape=(8, 64, 64), spacing=(11.0, 4.5, 4.5))
    return folder


def test_the_whole_way(scans: Path, tmp_path: Path) -> None:
    prepared, folder, out = tmp_path / "prepared", tmp_path / "run", tmp_path / "out"
    first = run("prepare", scans, prepared, "--supervoxel-size", "500", "--name", "1=liver")
    assert first.returncode == 0, first.stderr
    stamps = {path: path.stat().st_mtime_ns for path in prepared.rglob("*.npy")}
    run("prepare", scans, prepared, "--supervoxel-size", "500", "--name", "1=liver")
    assert stamps == {path: path.stat().st_mtime_ns for path in prepared.rglob("*.npy")}
    small = ["--set=options.encoder.outputs=[layer1]", "--set=options.width=8", "--steps", "2"]
    flags = ["--data", prepared, "--run", folder, "--fold", "0", "--folds", "2"]
    trained = run("train", "dpcenet/small", *flags, *small)
    assert trained.returncode == 0, trained.stderr
    for protocol in ("paper", "blind"):
        scored = run("evaluate", folder, "--protocol", protocol)
        assert scored.returncode == 0, scored.stderr
        assert "copy" in scored.stdout and "liver" in scored.stdout
    support = ["--support-image", scans / "image_01.nii.gz"]
    support += ["--support-mask", scans / "label_01.nii.gz", "--label", "1"]
    found = run("segment", scans, *support, "--run", folder, "--out", out)
    assert found.returncode == 0, found.stderr
    assert len(list(out.glob("image_*_seg.nii.gz"))) == 3  # the fourth is the labelled one
    page = run("report", folder, "--out", out)
    assert page.returncode == 0, page.stderr
    assert (out / "report.html").stat().st_size > 10_000


def mistakes(scans: Path, folder: Path) -> list[tuple[list[object], str]]:
    """Command lines that are wrong, and what the one line must say."""
    constant = folder / "constant" / "image_1.nii.gz"
    constant.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), constant)
    return [
        (["prepare", folder / "nowhere", folder / "out"], "nowhere: there is no such folder"),
        (["prepare", folder / "constant", folder / "out"], "image_1.nii.gz"),
        (["train", "dpcenet/best", "--data", folder, "--run", folder / "r"], "prepared data set"),
        (["evaluate", folder], "not a run"),
        (["report", folder, "--out", folder], "not a run"),
        (["prepare", scans, folder / "out", "--name", "liver"], "VALUE=NAME"),
    ]


def test_mistakes_end_in_one_line_and_exit_code_2(scans: Path, tmp_path: Path) -> None:
    for arguments, message in mistakes(scans, tmp_path):
        result = run(*arguments)
        assert result.returncode == 2, (arguments, result.stderr)
        assert message in result.stderr, result.stderr
        assert "Traceback" not in result.stderr
        assert result.stderr.count("\ndpcenet: ") + result.stderr.startswith("dpcenet: ") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_bad_case_does_not_stop_the_others(scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in scans.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    cut = (folder / "image_02.nii.gz").read_bytes()[:500]
    (folder / "image_02.nii.gz").write_bytes(cut)
    result = run("prepare", folder, tmp_path / "out", "--supervoxel-size", "500", "--jobs", "2")
    assert result.returncode == 2 and "1 of 4 cases failed" in result.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(manifest["cases"]) == ["01", "03", "04"]
    assert not list((tmp_path / "out").rglob(".partial-*"))


@pytest.mark.alone
def test_importing_the_package_is_quick() -> None:
    code = "import time; t=time.perf_counter(); import dpcenet; print(time.perf_counter()-t)"
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(float(done.stdout))
    assert min(times) < 0.1
    code = "import sys, dpcenet.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
