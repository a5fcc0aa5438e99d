"""What a report shows of benchmarks and runs: their sections, and what the runs cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.flops import arithmetic
from dpcenet.evaluation.benchmark.run_experiment import state_of
from dpcenet.evaluation.report.run_labels import row_names
from dpcenet.evaluation.report.tables import evaluations
from dpcenet.evaluation.scores import percent_dice, scores_of
from dpcenet.system.files import hash_of, read_json, read_or_set_aside, write_json
from dpcenet.system.texts import Words, words
from dpcenet.system.validated import validated
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import Run, open_run

MEASURED = {
    "training s": ("train_seconds", 1),
    "training core-s": ("train_cpu_seconds", 1),
    "evaluation s": ("evaluate_seconds", 1),
    "evaluation core-s": ("evaluate_cpu_seconds", 1),
    "peak GB": ("peak_memory_gb", 2),
}
"""Column → the cost that a benchmark measured in each run, and how many digits are shown."""
COUNTED = {
    "parameters M": "parameters",
    "trained M": "trained",
    "GFLOP slice": "test_slice",
    "GFLOP step": "step",
}
"""Column → what `flops.arithmetic` counts for each config."""


@dataclass(frozen=True)
class _Experiment:
    """One run of a plan, as OUT/plans/<plan>.json names it."""

    run: str
    error: str


@dataclass(frozen=True)
class _PlanRecord:
    """What is shown of OUT/plans/<plan>.json."""

    title: str
    command: str
    versions: dict[str, Any]
    machine: Any
    experiments: tuple[_Experiment, ...]


@dataclass(frozen=True)
class Section:
    """Runs that belong together in a report.

    Attributes:
        name: in names of files.
        title: heads the section.
        runs: complete ones.
        command: that made them; empty where it is not known.
        facts: versions and machine that made them.
        missing: runs of the plan that are not complete, with the error; "" for those not run yet.
    """

    name: str
    title: str
    runs: tuple[Run, ...]
    command: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def sections_of(folders: Sequence[Path]) -> list[Section]:
    """Single runs as one section, and a section for each plan of each benchmark's folder.

    Raises:
        RunError: a folder is neither a run nor a benchmark.
    """
    single = [open_run(folder) for folder in folders if not (folder / "plans").is_dir()]
    found = [Section("runs", "Runs", tuple(single))] if single else []
    for folder in folders:
        for path in sorted((folder / "plans").glob("*.json")):
            found.append(_of_plan(folder, path))
    return found


def _of_plan(out: Path, path: Path) -> Section:
    """The section of OUT/plans/<plan>.json."""
    again = "run `dpcenet benchmark` again"
    content = read_json(path, error=RunError, remedy=again)
    plan = validated(_PlanRecord, content, path, error=RunError, remedy=again, extra="ignore")
    errors = {each.run: each.error for each in plan.experiments}
    done = [name for name in errors if state_of(out / name).get("state") == "done"]
    if not done:
        raise RunError(f"{path}: none of its runs is complete; run `dpcenet benchmark` again")
    versions = {name: plan.versions.get(name) for name in ("commit", "dpcenet", "torch")}
    return Section(
        name=path.stem,
        title=plan.title or path.stem,
        runs=tuple(open_run(out / name) for name in done),
        command=plan.command,
        facts={**versions, "machine": plan.machine},
        missing={name: error for name, error in errors.items() if name not in done},
    )


def cost_head(say: Words | None = None) -> list[str]:
    """The columns of `cost_table` in a language; English by default."""
    say = say or words()
    return [say["head.method"], "Dice %", *(say[f"cost.{name}"] for name in (*MEASURED, *COUNTED))]


def cost_table(runs: Sequence[Run]) -> list[list[str]]:
    """Lines: time, memory and arithmetic of each method beside its Dice; see `cost_head`.

    Runs that were interrupted count for Dice only. Empty where no run knows its cost.
    """
    lines = []
    for name in dict.fromkeys(names := row_names(runs)):
        mine = [run for run, other in zip(runs, names, strict=True) if other == name]
        states = [state_of(run.folder) for run in mine]
        costs = [s["cost"] for s in states if "cost" in s and not s["resumed"]]
        if costs:
            measured = [
                f"{fmean(cost[key] for cost in costs):.{digits}f}"
                for key, digits in MEASURED.values()
            ]
            lines.append([name, f"{_dice(mine):.1f}", *measured, *_counted(mine[0])])
    return lines


def _counted(run: Run) -> list[str]:
    """Parameters and GFLOP as texts, counted once for each config and kept beside the runs."""
    path = run.folder.parent / "arithmetic.json"
    known = read_or_set_aside(path) or {}
    key = hash_of([config_to_dict(run.config)["options"], run.config.method])
    if key not in known:
        known[key] = arithmetic(run.config)._asdict()
        write_json(path, known)
    return [f"{known[key][name]:.2f}" for name in COUNTED.values()]


def _dice(runs: Sequence[Run]) -> float:
    """Mean percent Dice of all scores of these runs, first protocol."""
    return percent_dice(
        [score for run in runs for score in scores_of(evaluations(run)[0][1], run.config.preset)]
    )
