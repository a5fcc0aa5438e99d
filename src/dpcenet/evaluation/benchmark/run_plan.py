"""The whole benchmark: run what is not complete yet, and say how it went.

OUT/plans/<plan>.json       the experiments of a plan, where each lies and what became of it
OUT/runs/<data>/<name>/     a run folder each; plans share them
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.run_experiment import (
    ExecutionContext,
    is_done,
    run_experiment,
    state_of,
)
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.system.environment import machine, versions
from dpcenet.system.files import read_or_set_aside, write_json
from dpcenet.system.parallel import Engine
from dpcenet.system.progress import progress_bar
from dpcenet.training.log import read_log

EVERY = 5.0  # seconds between two looks at the logs of running experiments


@dataclass(frozen=True)
class PlanCommand:
    """The file of a plan, its title, and the command that ran it."""

    name: str
    title: str
    command: str


@dataclass(frozen=True)
class BenchmarkSummary:
    """How a benchmark went.

    Attributes:
        done: experiments that are complete, those of earlier calls included.
        skipped: of these, how many were complete before.
        failed: run's name → why.
    """

    done: int
    skipped: int
    failed: dict[str, str]


def run_all(
    plan: PlanCommand,
    experiments: Sequence[Experiment],
    context: ExecutionContext,
    engine: Engine,
    *,
    any_code: bool = False,
    quiet: bool = False,
    say: Callable[[str], object] = print,
) -> BenchmarkSummary:
    """Run what is not done yet.

    Args:
        plan: its names.
        experiments: all of the plan's.
        context: where they run.
        engine: what runs several of them.
        any_code: take runs of other versions of the code as done.
        quiet: no progress bar.
        say: called with a line for each experiment that has ended.

    Raises:
        RunError: the disk is full.
    """
    code = None if any_code else context.code
    each = list({str(e.folder(context.out)): e for e in experiments}.values())
    todo = [e for e in each if not is_done(e, context.out, code)]
    failed: dict[str, str] = {}
    _write_plan(plan, experiments, context.out, failed)
    skipped = len(each) - len(todo)
    finished: set[int] = set()
    with (
        progress_bar(f"benchmark {plan.name}", len(each), skipped, quiet) as bar,
        _watched(todo, finished, context.out, lambda note: bar(skipped + len(finished), note)),
    ):
        for outcome in engine(partial(run_experiment, context), todo):
            if outcome.final:
                raise RunError(f"{outcome.error} (complete runs are kept)")
            label = f"{todo[outcome.index].data}/{todo[outcome.index].name}"
            if outcome.error:
                failed[label] = outcome.error
            finished.add(outcome.index)
            result = outcome.error or f"Dice {outcome.result:.1f} %"
            say(f"[{skipped + len(finished)}/{len(each)}] {label}: {result}")
    _write_plan(plan, experiments, context.out, failed)
    return BenchmarkSummary(len(each) - len(failed), skipped, failed)


def benchmark_precision(out: Path, device: str) -> Precision:
    """The precision of every trunk of a benchmark, measured the first time and then kept."""
    path = out / "precision.json"
    known = (read_or_set_aside(path, {"precision": str}) or {}).get("precision")
    if known in ("float32", "bfloat16"):
        precision: Precision = known
        return precision
    precision = choose_precision("auto", choose_device(device))
    write_json(path, {"precision": precision})
    return precision


def _write_plan(
    plan: PlanCommand, experiments: Sequence[Experiment], out: Path, failed: dict[str, str]
) -> None:
    """OUT/plans/<plan>.json."""
    rows = [
        {
            "row": e.row,
            "data": e.data,
            "run": str(e.folder(out).relative_to(out)),
            "state": state_of(e.folder(out)).get("state", "to do"),
            "error": failed.get(f"{e.data}/{e.name}", ""),
        }
        for e in experiments
    ]
    facts = {**asdict(plan), "versions": versions(), "machine": machine(), "experiments": rows}
    write_json(out / "plans" / f"{plan.name}.json", facts)


@contextmanager
def _watched(
    todo: Sequence[Experiment], finished: set[int], out: Path, show: Callable[[str], None]
) -> Iterator[None]:
    """While experiments run, show every few seconds how far each of them is."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(EVERY):
            notes = [_how_far(e, out) for i, e in enumerate(todo) if i not in finished]
            show(", ".join(filter(None, notes)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _how_far(experiment: Experiment, out: Path) -> str:
    """ "name 120/300" of a running experiment; empty where it has not begun."""
    folder = experiment.folder(out)
    log = folder / "log.jsonl"
    if state_of(folder).get("state") != "begun" or not log.exists():
        return ""
    lines = read_log(log)
    step = lines[-1]["step"] if lines else 0
    return f"{experiment.name.rpartition('-')[0]} {step}/{experiment.config.train.steps}"
