"""What a benchmark left behind, ready for a report: its runs plan by plan, and what they cost."""

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
from dpcenet.evaluation.scores import COPY, read_scores
from dpcenet.system.files import hash_of, read_json, write_json
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import Run, open_run

COST_HEAD = (
    "method",
    "Dice %",
    "training s",
    "of computing",
    "evaluation s",
    "of computing",
    "peak GB",
    "energy kJ",
    "parameters M",
    "trained M",
    "GFLOP slice",
    "GFLOP step",
)


@dataclass(frozen=True)
class Section:
    """Runs that belong together in a report.

    Attributes:
        name: in names of files.
        title: heads the section.
        runs: complete ones.
        command: that made them; empty where it is not known.
        facts: what their numbers depend on besides.
        missing: runs of the plan that are not complete, with the reason.
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
    facts = read_json(path)
    folders = dict.fromkeys(item["run"] for item in facts["experiments"])
    done = [name for name in folders if state_of(out / name).get("state") == "done"]
    if not done:
        raise RunError(f"{path}: none of its runs is complete; run `dpcenet benchmark` again")
    errors = {item["run"]: item["error"] for item in facts["experiments"]}
    versions = facts["versions"]
    return Section(
        name=path.stem,
        title=facts["title"] or path.stem,
        runs=tuple(open_run(out / name) for name in done),
        command=facts["command"],
        facts={
            "commit": versions["commit"],
            "dpcenet": versions["dpcenet"],
            "torch": versions["torch"],
            "machine": facts["machine"],
        },
        missing={n: errors[n] or "not run yet" for n in folders if n not in done},
    )


def cost_table(runs: Sequence[Run]) -> list[list[str]]:
    """Head and lines: time, memory and arithmetic of each method beside its Dice.

    Runs that were interrupted count for Dice only. Empty where no run knows its cost.
    """
    lines = []
    for name in dict.fromkeys(names := row_names(runs)):
        mine = [run for run, other in zip(runs, names, strict=True) if other == name]
        states = [state_of(run.folder) for run in mine]
        costs = [s["cost"] for s in states if "cost" in s and not s["resumed"]]
        if costs:
            lines.append([name, f"{_dice(mine):.1f}", *_means(costs), *_counted(mine[0])])
    return [list(COST_HEAD), *lines] if lines else []


def _means(costs: Sequence[dict[str, Any]]) -> list[str]:
    """Means over runs as texts."""

    def mean(key: str, factor: float, digits: int) -> str:
        values = [cost[key] for cost in costs if cost[key] is not None]
        return f"{factor * fmean(values):.{digits}f}" if values else "–"

    times = ["train_seconds", "train_cpu_seconds", "evaluate_seconds", "evaluate_cpu_seconds"]
    return [
        *(mean(key, 1, 1) for key in times),
        mean("peak_memory_gb", 1, 2),
        mean("energy_joules", 1e-3, 2),
    ]


def _counted(run: Run) -> list[str]:
    """Parameters and GFLOP as texts, counted once for each config and kept beside the runs."""
    path = run.folder.parent / "arithmetic.json"
    known = read_json(path) if path.is_file() else {}
    key = hash_of([config_to_dict(run.config)["options"], run.config.method])
    if key not in known:
        known[key] = arithmetic(run.config)._asdict()
        write_json(path, known)
    facts = known[key]
    names = ("parameters", "trained", "test_slice", "step")
    return [f"{facts[name]:.2f}" for name in names]


def _dice(runs: Sequence[Run]) -> float:
    """Mean percent Dice of all scores of these runs, first protocol."""
    dices = []
    for run in runs:
        path = min(
            run.folder.glob("scores-*.csv"), key=lambda path: ("paper" not in path.stem, path)
        )
        scores = read_scores(path)
        mine = [s.dice for s in scores if s.method == run.config.preset]
        dices += mine or [s.dice for s in scores if s.method == COPY]
    return 100 * fmean(dices)
