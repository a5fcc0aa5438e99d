"""The script for a GPU runs on a CPU with tiny sizes, and measures every part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_every_part_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    script = [str(BENCHMARKS / "gpu.py"), "--tiny", "--device", "cpu", "--out", str(out)]
    presets = ["--preset", "dpcenet/own", "--preset", "adnet/own"]
    subprocess.run([sys.executable, *script, *presets], check=True, capture_output=True, text=True)
    found = json.loads(out.read_text())
    assert found["machine"]["device"] == "cpu" and found["tiny"]
    works = [row["work"].split(",")[0] for row in found["rows"]]
    assert works == ["segment", "segment", "step", "step", "make a pair of 32 x 32", "pretrain"]
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["GB"] > 0 and row["times"] == 1
        if row["work"].startswith(("step", "pretrain")):
            assert row["hours of 100k"] * 3600 / 100_000 == pytest.approx(row["seconds"])
    assert [row["dice"] > 0.99 for row in found["rows"][:2]] == [True, True]
    assert found["rows"][0]["dice"] == 1


def test_all_eight_methods_are_asked_by_default() -> None:
    show = "import gpu; print(*gpu.PRESETS, gpu.PARTS)"
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=BENCHMARKS, check=True, capture_output=True, text=True
    )
    *presets, parts = done.stdout.split()
    assert len({preset.split("/")[0] for preset in presets}) == 8
    assert int(parts) == 8 + 4 + 2
