"""What a run is called in a table, and what was spent on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpcenet.evaluation.report.run_labels import DataKey, budget, data_key, row_names
from dpcenet.system.files import write_json
from dpcenet.system.texts import joined
from dpcenet.training.config import load_preset
from dpcenet.training.run_folder import Run
from made import tiny_config
from reports import write_run


def of_benchmark(folder: Path, row: str, data: str) -> Run:
    """A run that a benchmark made."""
    run = write_run(folder, [])
    write_json(folder / "experiment.json", {"row": row, "data": data})
    return run


def test_a_benchmark_names_its_runs_and_data(tmp_path: Path) -> None:
    run = of_benchmark(tmp_path / "a", "DPCENet", "chaos")
    assert row_names([run]) == ["DPCENet"]
    assert data_key(run) == DataKey("chaos", 1) and str(data_key(run)) == "chaos-1"


def test_other_runs_are_named_by_preset_and_data_set(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [], facts={"dataset": "acdc"}, setting=2)
    assert row_names([run]) == ["tiny"] and str(data_key(run)) == "acdc-2"
    nameless = write_run(tmp_path / "b", [])
    assert str(data_key(nameless)) == "-1"


def test_configs_of_one_preset_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(steps), [], tiny_config(steps)) for steps in (4, 4, 5)]
    assert row_names(runs[:2]) == ["tiny", "tiny"]
    assert row_names(runs) == ["tiny (4)", "tiny (4)", "tiny (5)"]


def said(runs: list[Run]) -> str:
    """The budget in a line."""
    return joined(budget(runs))


def test_the_budget_of_training(tmp_path: Path) -> None:
    free, frozen = tiny_config(4), tiny_config(4, frozen=True)
    runs = [
        write_run(tmp_path / f"{fold}{seed}", [], config, fold=fold, seed=seed)
        for fold, seed, config in ((1, 0, free), (0, 1, frozen), (None, 0, free))
    ]
    assert said(runs) == (
        "4 steps; fold 0, 1 of 5; seed 0, 1; "
        "trunk resnet18 os8, frozen; trunk resnet18 os8, trained"
    )
    second = write_run(tmp_path / "s", [], setting=2, exclusion="all")
    assert said([second]).startswith("training without slices that show all of a group; 4 steps")


def test_the_budget_without_training(tmp_path: Path) -> None:
    copy = load_preset("copy/plain")
    run = write_run(tmp_path / "copy", [], copy)
    assert said([run]) == "nothing was trained"
    write_json(run.folder / "adapt.json", {"kept": 30})
    assert said([run]) == "adapted to unlabelled scans for 30 steps"
    trained = write_run(tmp_path / "t", [], replace(tiny_config(7), preset="x"))
    assert said([run, trained]).startswith("adapted to unlabelled scans for 30 steps; 7 steps")
