"""One experiment: what it leaves behind, and when it is done again."""

from __future__ import annotations

import csv
import fcntl
from pathlib import Path

import numpy as np
import pytest

from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.run_experiment import (
    ExecutionContext,
    is_done,
    run_experiment,
    state_of,
)
from dpcenet.system.files import write_json
from made import write_prepared
from tiny_plan import expand, write_plan


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The plan's experiment that trains nothing."""
    folder = tmp_path_factory.mktemp("plan")
    return expand(write_plan(folder), write_prepared(folder / "data"))[0]


def test_what_is_left_behind(copying: Experiment, tmp_path: Path) -> None:
    dice = run_experiment(ExecutionContext(tmp_path, "cpu", 0, "code"), copying)
    folder = copying.folder(tmp_path)
    with (folder / "scores-paper.csv").open(newline="") as stream:
        found = [float(row["dice"]) for row in csv.DictReader(stream) if row["method"] == "copy"]
    assert dice == pytest.approx(100 * np.mean(found))
    state = state_of(folder)
    assert (state["row"], state["data"], state["key"]) == ("copy", "made", copying.key)
    assert (state["state"], state["resumed"], state["code"]) == ("done", False, "code")
    cost = state["cost"]
    assert cost.keys() == {
        "train_seconds", "train_cpu_seconds", "evaluate_seconds", "evaluate_cpu_seconds",
        "peak_memory_gb", "peak_is_of_this_run", "threads", "gpu_peak_memory_gb",
    }  # fmt: skip
    assert cost["evaluate_seconds"] >= 0 and 0.05 < cost["peak_memory_gb"] < 100


def test_done_means_by_this_key_and_code(copying: Experiment, tmp_path: Path) -> None:
    folder = copying.folder(tmp_path)
    assert state_of(folder) == {} and not is_done(copying, tmp_path, None)
    state = {"key": copying.key, "code": "a", "state": "done"}
    write_json(folder / "experiment.json", state)
    assert is_done(copying, tmp_path, "a") and is_done(copying, tmp_path, None)
    assert not is_done(copying, tmp_path, "b")
    for change in ({"key": "other"}, {"state": "begun"}):
        write_json(folder / "experiment.json", {**state, **change})
        assert not is_done(copying, tmp_path, "a")


def test_runs_of_other_code_are_emptied_first(copying: Experiment, tmp_path: Path) -> None:
    folder = copying.folder(tmp_path)
    (folder / "predictions-old").mkdir(parents=True)
    (folder / "predictions-old" / "mask").touch()
    (folder / "old.txt").touch()
    write_json(folder / "experiment.json", {"code": "old"})
    run_experiment(ExecutionContext(tmp_path, "cpu", 0, "new"), copying)
    assert not (folder / "old.txt").exists() and not (folder / "predictions-old").exists()
    assert state_of(folder)["code"] == "new"


def test_a_run_that_another_process_works_on_is_left_alone(
    copying: Experiment, tmp_path: Path
) -> None:
    folder = copying.folder(tmp_path)
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process is working on this run"):
            run_experiment(ExecutionContext(tmp_path, "cpu", 0, "code"), copying)
    assert [path.name for path in folder.iterdir()] == ["lock"]
