"""Sections of a report, and what runs cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpcenet.errors import RunError
from dpcenet.evaluation.report.sections import cost_head, cost_table, sections_of
from dpcenet.system.files import read_json, write_json
from dpcenet.training.config import load_preset
from dpcenet.training.run_folder import Run
from reports import score, write_run

COST = {"train_seconds": 2.0, "train_cpu_seconds": 4.0, "evaluate_seconds": 1.0,
        "evaluate_cpu_seconds": 1.5, "peak_memory_gb": 0.5}  # fmt: skip


def experiment(folder: Path, dice: float, resumed: bool = False, **cost: float) -> Run:
    """A complete run of the benchmark's line "copy"."""
    run = write_run(folder, [score("copy", "c", "liver", dice)], load_preset("copy/plain"))
    facts = {"row": "copy", "data": "made", "state": "done", "resumed": resumed}
    write_json(folder / "experiment.json", {**facts, "cost": {**COST, **cost}})
    return run


def benchmark(out: Path, names: dict[str, str]) -> None:
    """OUT/plans/p.json with the error of each run."""
    facts: dict[str, Any] = {
        "title": "", "command": "dpcenet benchmark p", "machine": "a machine",
        "versions": {"commit": "abc", "dpcenet": "0", "torch": "2", "numpy": "2"},
        "experiments": [{"run": name, "error": error} for name, error in names.items()],
    }  # fmt: skip
    write_json(out / "plans" / "p.json", facts)


def test_a_plan_is_a_section_and_names_what_is_missing(tmp_path: Path) -> None:
    experiment(tmp_path / "runs" / "a", 0.5)
    benchmark(tmp_path, {"runs/a": "", "runs/b": "no memory", "runs/c": ""})
    (section,) = sections_of([tmp_path])
    assert (section.name, section.title) == ("p", "p")
    assert [run.folder.name for run in section.runs] == ["a"]
    assert section.missing == {"runs/b": "no memory", "runs/c": ""}
    assert section.facts == {"commit": "abc", "dpcenet": "0", "torch": "2", "machine": "a machine"}


def test_single_runs_make_one_section(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, []) for name in "ab"]
    (section,) = sections_of([run.folder for run in runs])
    assert section.title == "Runs" and len(section.runs) == 2 and not section.command


def test_folders_that_are_neither_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        sections_of([tmp_path])
    benchmark(tmp_path, {"runs/b": "failed"})
    with pytest.raises(RunError, match="none of its runs is complete"):
        sections_of([tmp_path])


def test_costs_are_means_over_runs_that_were_not_interrupted(tmp_path: Path) -> None:
    runs = [
        experiment(tmp_path / "a", 0.5),
        experiment(tmp_path / "b", 0.7, train_seconds=3.0),
        experiment(tmp_path / "c", 0.9, resumed=True, train_seconds=100.0),
    ]
    (line,) = cost_table(runs)
    found = dict(zip(cost_head(), line, strict=True))
    assert found["method"] == "copy" and float(found["Dice %"]) == pytest.approx(70)
    assert float(found["training s"]) == pytest.approx(np.mean([2.0, 3.0]))
    assert (found["evaluation core-s"], found["peak GB"]) == ("1.5", "0.50")
    assert found["parameters M"] == found["GFLOP step"] == "0.00"
    assert len(read_json(tmp_path / "arithmetic.json")) == 1


def test_runs_without_costs_have_no_table(tmp_path: Path) -> None:
    assert cost_table([write_run(tmp_path / "a", [score("tiny", "c", "liver", 0.5)])]) == []
