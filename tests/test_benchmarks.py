"""The scripts that measure run, on small made patients, and say what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from dpcenet.data.phantom.phantom import write_phantoms

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_very_long_scan_has_a_row(tmp_path: Path) -> None:
    run("speed.py", "flat-long", "--quick", "--out", tmp_path)
    (row,) = json.loads((tmp_path / "speed.json").read_text())["flat-long"]["rows"]
    assert row["slices"] == 40 and row["labels found"] >= 1
    assert row["minutes"] > 0 and row["CPU minutes"] > 0 and row["peak GB"] > 0.1
    assert "## A very long scan" in (tmp_path / "speed.md").read_text()


def test_alternatives_are_scored_on_the_same_scans(tmp_path: Path) -> None:
    (image, label), (other, truth) = write_phantoms(
        tmp_path, 2, shape=(8, 64, 64), spacing=(18.0, 4.0, 4.0)
    )
    table = tmp_path / "table.json"
    scans = ["--support", image, "--mask", label, "--query", other, "--truth", truth]
    wanted = [] if find_spec("nnunetv2") else ["--nnunet", "1"]
    shown = run("alternatives.py", *scans, *wanted, "--threads", 1, "--json", table)
    rows = {row["way"]: row for row in json.loads(table.read_text())["rows"]}
    for way in ("dpcenet segment", "register"):
        assert 0 < rows[way]["Dice"] <= 1 and rows[way]["minutes"] > 0 and way in shown
    if wanted:
        skipped = rows["nnU-Net v2, trained for 1 min"]
        assert skipped["Dice"] == "skipped: nnunetv2 is not installed"


def test_precisions_are_compared(tmp_path: Path) -> None:
    pairs = write_phantoms(tmp_path, 5, shape=(6, 48, 48), spacing=(22.0, 6.0, 6.0))
    for (image, label), name in zip(pairs, ("19", "20", "21", "22", "31"), strict=True):
        image.rename(tmp_path / f"image_{name}.nii.gz")
        label.rename(tmp_path / f"label_{name}.nii.gz")
    run("speed.py", "precision", "--scans", tmp_path, "--out", tmp_path)
    one, two = json.loads((tmp_path / "speed.json").read_text())["precision"]["rows"]
    assert one["precision"] == "float32" and one["Dice with float32"] == 1
    assert two["precision"] == "bfloat16" and two["Dice with float32"] > 0.95
