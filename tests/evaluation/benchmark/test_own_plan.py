"""The command of docs/reproduces.md that would settle the tables: it runs, here for ten steps."""

from __future__ import annotations

import csv
import os
import shlex
import subprocess
import sys
from pathlib import Path

from dpcenet.evaluation.benchmark.plan import load_plan
from made import write_prepared

PAGE = Path(__file__).parents[3] / "docs" / "reproduces.md"


def printed_command() -> list[str]:
    """The one command of the page on the own trunk, as words."""
    (line,) = [
        x for x in PAGE.read_text("utf-8").splitlines() if x.startswith("    dpcenet benchm")
    ]
    return shlex.split(line)


def test_the_printed_command_trains_and_scores_all_eight_methods(tmp_path: Path) -> None:
    data = write_prepared(tmp_path / "data")
    words = [
        word.replace("PREPARED_MRI", str(data)).replace("OUT", str(tmp_path / "out"))
        for word in printed_command()
        if "PREPARED_CT" not in word
    ]
    words = [w for i, w in enumerate(words) if not (w == "--data" and words[i + 1][:2] == "--")]
    less = ["--steps", "10", "--folds", "0", "--seeds", "0", "--device", "cpu"]
    small = [
        "--set",
        "set=[episodes.min_area=20, train.validation.every=0, options.encoder.size=48]",
    ]
    subprocess.run(
        [sys.executable, "-m", *words, *less, *small],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    rows = {row.name for row in load_plan("own").methods}
    runs = list((tmp_path / "out" / "runs" / "chaos").iterdir())
    assert len(runs) == len(rows)
    for run in runs:
        with (run / "scores-paper.csv").open(newline="") as stream:
            assert all(0 <= float(row["dice"]) <= 1 for row in csv.DictReader(stream))
