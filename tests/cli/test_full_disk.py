"""A full disk, in every command: one line that says so, exit code 2, no half file; then it goes on.

No file may grow beyond a limit while a command works, which is what a full disk looks like.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from dpcenet.__main__ import main
from dpcenet.cli.options_page import commands
from dpcenet.segmentation.task_file import write_task
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train
from full_disk import full_disk
from made import tiny_config, write_prepared
from made_scans import quick_segmenter, write_scans

PRINTS = ("list", "cite", "task show", "doctor")
"""Commands that write nothing, unless they are told to, but what they print."""
ELSEWHERE = {"app": "tests/app/test_no_room.py", "download": "tests/nn: it needs a network"}
SLOW = ("adapt", "demo", "export onnx", "export monai-bundle", "pretrain", "benchmark")
NONE, RECORD, MASK, SCAN = 0, 300, 3_000, 20_000
"""Bytes that a file may have: none, a small record, a mask and its record, a small scan."""
LATER = (("segment", MASK), ("train", SCAN), ("prepare", SCAN), ("report", SCAN))
"""Commands that write some of their files before the disk is full."""
NNUNET = ["export", "nnunet", "--dataset", 7]
TINY = ["--set=options.encoder.outputs=[layer1]", "--set=options.width=8", "--steps=1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans with labels, a prepared data set, a run of a tiny network, and a task."""
    folder = tmp_path_factory.mktemp("made")
    ((image, mask), _) = write_scans(folder / "scans", 2)
    _write_broken(folder / "nan.nii.gz", image)
    data = write_prepared(folder / "data", count=5)
    train(tiny_config(1), RunFlags(data, fold=0, folds=2), folder / "run", device="cpu", quiet=True)
    segmenter = quick_segmenter()
    write_task(folder / "a.task", segmenter.predictor, segmenter.support([image], [mask]))
    plan = {"title": "t", "data": ["d"], "settings": [{"setting": 1, "name": "s1"}], "folds": [0]}
    plan |= {
        "of_folds": 2,
        "protocols": ["paper"],
        "methods": [{"name": "c", "preset": "copy/plain"}],
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return folder


def _write_broken(path: Path, image: Path) -> None:
    """A scan with a voxel that is no number."""
    scan = nib.load(image)
    data = np.asarray(scan.dataobj, np.float32)
    data[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(data, scan.affine), path)


def command_lines(made: Path, out: Path) -> dict[str, list[Any]]:
    """Each command, told to write below `out`."""
    scans, data, run = made / "scans", made / "data", made / "run"
    image, mask, query = (scans / f"{name}.nii.gz" for name in ("image_01", "label_01", "image_02"))
    given = ["--support-image", image, "--support-mask", mask, "--label", 4]
    return {
        "segment": ["segment", query, *given, "--run", run, "-o", out, "--probability", "--mesh"],
        "complete": ["complete", image, mask, "-o", out / "f.nii.gz", "--run", run, "--open-ended"],
        "task create": ["task", "create", *given, "--run", run, "-o", out / "a.task"],
        "task show": ["task", "show", made / "a.task"],
        "doctor": ["doctor", image, "--mask", mask],
        "doctor --fix": ["doctor", made / "nan.nii.gz", "--fix", out],
        "prepare": ["prepare", scans, out],
        "inspect": ["inspect", data, "-o", out],
        "train": ["train", "dpcenet/small", "--data", data, "--run", out, *TINY],
        "evaluate": ["evaluate", out / "run"],
        "report": ["report", run, "-o", out],
        "export nnunet": [*NNUNET, out / "seg", *given[:4], "-o", out],
        "benchmark": ["benchmark", made / "plan.yaml", "--data", f"d={data}", "-o", out],
        "export onnx": ["export", "onnx", out],
        "export monai-bundle": ["export", "monai-bundle", out],
        "pretrain": ["pretrain", "--run", out, "--set", "batch=1", "--set", "steps=1"],
        "adapt": ["adapt", "--data", data, "--run", out, "--minutes", 0.01],
        "demo": ["demo", "-o", out],
        "list": ["list"],
        "cite": ["cite"],
    }


NAMES = list(command_lines(Path(), Path()))


def test_every_command_is_tried() -> None:
    known = {name for name, _ in commands()}
    assert known == ({name.partition(" --")[0] for name in NAMES} | set(ELSEWHERE))


def start(arguments: list[Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the program as a person does, but in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["dpcenet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def before(name: str, made: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command takes from its own folder."""
    if name == "evaluate":
        shutil.copytree(made / "run", out / "run")
    if name == "export nnunet":
        assert start(command_lines(made, out / "seg")["segment"], monkeypatch) == 0
        shutil.copy(made / "scans" / "label_02.nii.gz", out / "seg" / "image_02_seg.nii.gz")


def cases() -> list[Any]:
    """Each command that writes, with the sizes of the disk."""
    quick = [name for name in NAMES if name not in (*PRINTS, *SLOW)]
    chosen = [*((name, limit) for name in quick for limit in (NONE, RECORD)), *LATER]
    slow = [pytest.param(name, RECORD, marks=pytest.mark.slow) for name in SLOW]
    return [*chosen, *slow]


@pytest.mark.parametrize(("name", "limit"), cases())
def test_one_line_nothing_half_written_and_then_it_goes_on(
    made: Path,
    tmp_path: Path,
    name: str,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "export onnx":
        pytest.importorskip("onnx", reason="needs the extra `onnx`")
    out = tmp_path / "out"
    before(name, made, out, monkeypatch)
    arguments = command_lines(made, out)[name]
    capsys.readouterr()
    with full_disk(limit):
        code = start(arguments, monkeypatch)
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith(("dpcenet: ", " "))]
    assert code == 2 and len(lines) == 1 and said.endswith(f"{lines[0]}\n"), said
    assert "no space is left on the disk" in lines[0], said
    left = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in left if ".partial-" in path.name or path.name.endswith("lock")]
    for path in (path for path in left if path.suffix == ".json"):
        json.loads(path.read_text())
    assert start(arguments, monkeypatch) == (name == "doctor --fix"), capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_what_is_printed_has_no_room(
    made: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    before(name, made, out, monkeypatch)
    capsys.readouterr()
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = start(command_lines(made, out)[name], monkeypatch)
        monkeypatch.undo()
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith(("dpcenet: ", " "))]
    assert code == 2 and len(lines) == 1 and "no space" in lines[0].lower(), said


def test_no_command_ends_for_its_progress(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command_lines(made, tmp_path)["segment"]
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it where 2>&- closed it
    assert start(arguments, monkeypatch) == 0
    with (
        Path("/dev/full").open("wb", buffering=0) as unbuffered,
        io.TextIOWrapper(unbuffered, write_through=True) as full,
    ):
        monkeypatch.setattr(sys, "stderr", full)
        assert start([*arguments, "--overwrite"], monkeypatch) == 0
        monkeypatch.undo()
