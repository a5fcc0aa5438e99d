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
    lines = PAGE.read_text("utf-8").splitlines()
    (line,) = [x for x in lines if x.startswith("dpcenet benchmark own ")]
    return shlex.split(line)


def test_the_printed_command_trains_and_scores_all_eight_methods(tmp_path: Path) -> None:
    write_prepared(tmp_path / "chaos")
    command = " ".join(printed_command()).replace("--data sabs=sabs ", "")
    less = ["--steps", "10", "--folds", "0", "--seeds", "0", "--device", "cpu"]
    small = [
        "--set",
        "set=[episodes.min_area=20, train.validation.every=0, options.encoder.size=48]",
    ]
    subprocess.run(
        [sys.executable, "-m", *shlex.split(command), *less, *small],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    rows = {row.name for row in load_plan("own").methods}
    runs = list((tmp_path / "own" / "runs" / "chaos").iterdir())
    assert len(runs) == len(rows)
    for run in runs:
        with (run / "scores-paper.csv").open(newline="") as stream:
            assert all(0 <= float(row["dice"]) <= 1 for row in csv.DictReader(stream))
