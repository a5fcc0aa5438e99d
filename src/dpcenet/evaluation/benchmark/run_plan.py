"""The whole benchmark: what is still to do, doing it, and saying how it went.

OUT/plans/<plan>.json       the experiments of a plan, where each lies and what became of it
OUT/runs/<data>/<name>/     a run folder each; plans share them
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.run_experiment import Place, is_done, run_experiment, state_of
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.system.environment import machine, versions
from dpcenet.system.files import read_json, write_json
from dpcenet.system.parallel import Engine
from dpcenet.system.progress import progress_bar

EVERY = 5.0  # seconds between two looks at the logs of running experiments


@dataclass(frozen=True)
class Named:
    """What a plan is called: its file, its title, and the command that ran it."""

    name: str
    title: str
    command: str


@dataclass(frozen=True)
class Summary:
    """How a benchmark went.

    Attributes:
        done: experiments that are complete, those of earlier times included.
        skipped: of these, how many were complete before.
        failed: run's name → why.
    """

    done: int
    skipped: int
    failed: dict[str, str]


def run_all(
    plan: Named,
    experiments: Sequence[Experiment],
    place: Place,
    engine: Engine,
    *,
    any_code: bool = False,
    quiet: bool = False,
    say: Callable[[str], object] = print,
) -> Summary:
    """Run what is not done yet.

    Args:
        plan: what it is called.
        experiments: all of the plan's.
        place: where they run.
        engine: what runs several of them.
        any_code: take runs of other versions of the code as done.
        quiet: no progress bar.
        say: told of each experiment that is over.
    """
    code = None if any_code else place.code
    each = list({str(e.folder(place.out)): e for e in experiments}.values())
    todo = [e for e in each if not is_done(e, place.out, code)]
    failed: dict[str, str] = {}
    _write_plan(plan, experiments, place.out, failed)
    skipped = len(each) - len(todo)
    finished: set[int] = set()
    with (
        progress_bar(f"benchmark {plan.name}", len(each), skipped, quiet) as bar,
        _watched(todo, finished, place.out, lambda note: bar(skipped + len(finished), note)),
    ):
        for outcome in engine(partial(run_experiment, place), todo):
            label = f"{todo[outcome.index].data}/{todo[outcome.index].name}"
            if outcome.error:
                failed[label] = outcome.error
            finished.add(outcome.index)
            result = outcome.error or f"Dice {outcome.result:.1f} %"
            say(f"[{skipped + len(finished)}/{len(each)}] {label}: {result}")
    _write_plan(plan, experiments, place.out, failed)
    return Summary(len(each) - len(failed), skipped, failed)


def choose_once(out: Path, device: str) -> Precision:
    """The precision of every trunk of a benchmark, measured the first time and then kept."""
    path = out / "precision.json"
    if not path.exists():
        write_json(path, {"precision": choose_precision("auto", choose_device(device))})
    precision: Precision = read_json(path)["precision"]
    return precision


def _write_plan(
    plan: Named, experiments: Sequence[Experiment], out: Path, failed: dict[str, str]
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
    lines = log.read_text().rpartition("\n")[0].splitlines()  # whole lines only
    step = json.loads(lines[-1])["step"] if lines else 0
    return f"{experiment.name.rpartition('-')[0]} {step}/{experiment.config.train.steps}"
