"""One experiment: train, evaluate, and say what it cost. Killed and called again, it goes on.

RUN/experiment.json    key, version of the code, state, cost; beside what train and evaluate write
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.resources import now, peak_memory_gb, reset_peak
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.scores import percent_dice, read_scores, scores_of
from dpcenet.system.files import read_or_set_aside, write_json
from dpcenet.system.lock import Held, held
from dpcenet.training.checkpoint import CHECKPOINT
from dpcenet.training.train import train

STATE = "experiment.json"


@dataclass(frozen=True)
class ExecutionContext:
    """Where and how experiments run.

    Attributes:
        out: folder of the benchmark.
        device: "auto", "cpu", "cuda", …
        threads: of one run on the CPU; 0 leaves it to torch.
        code: of `code_version`.
    """

    out: Path
    device: str
    threads: int
    code: str


def state_of(folder: Path) -> dict[str, Any]:
    """What RUN/experiment.json says; empty where there is none, or it was damaged."""
    return read_or_set_aside(folder / STATE) or {}


def is_done(experiment: Experiment, out: Path, code: str | None) -> bool:
    """Whether the experiment is complete, by this version of the code; None takes any version."""
    state = state_of(experiment.folder(out))
    same = state.get("key") == experiment.key and code in (None, state.get("code"))
    return same and state.get("state") == "done"


def run_experiment(context: ExecutionContext, experiment: Experiment) -> float:
    """Train and evaluate.

    Returns:
        the mean Dice in percent under the first protocol.

    Raises:
        DpcenetError: as `train` and `evaluate`, or another process is at this run.
    """
    if context.threads:
        torch.set_num_threads(context.threads)
    folder = experiment.folder(context.out)
    with _locked(folder):
        if state_of(folder).get("code", context.code) != context.code:
            _empty(folder)
        facts = {
            "row": experiment.row,
            "data": experiment.data,
            "key": experiment.key,
            "code": context.code,
        }
        resumed = (folder / CHECKPOINT).exists()
        write_json(folder / STATE, {**facts, "state": "begun"})
        cost = _train_and_evaluate(context, experiment, folder)
        write_json(folder / STATE, {**facts, "state": "done", "resumed": resumed, "cost": cost})
        scores = read_scores(folder / f"scores-{experiment.rules[0].tag}.csv")
        return percent_dice(scores_of(scores, experiment.config.preset))


def _train_and_evaluate(
    context: ExecutionContext, experiment: Experiment, folder: Path
) -> dict[str, Any]:
    """The work itself; returns what it cost."""
    peak_is_own = reset_peak()
    start, device = now(), context.device
    train(experiment.config, experiment.flags, folder, device=device, resume=True, quiet=True)
    trained = now()
    for rules in experiment.rules:
        if not (folder / f"summary-{rules.tag}.json").exists():  # it is written last
            evaluate(folder, rules, device=device, quiet=True)
    training, evaluation = trained.since(start), now().since(trained)
    return {
        "train_seconds": training.wall,
        "train_cpu_seconds": training.cpu,
        "evaluate_seconds": evaluation.wall,
        "evaluate_cpu_seconds": evaluation.cpu,
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "peak_is_of_this_run": peak_is_own,
        "threads": torch.get_num_threads(),
        "gpu_peak_memory_gb": _gpu_peak_gb(),
    }


def _gpu_peak_gb() -> float | None:
    """Largest memory that torch held on the GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e9, 3)


def _empty(folder: Path) -> None:
    """Remove a run that another version of the code made; the lock stays."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / "lock"))
        except Held as error:
            raise RunError(f"{folder}: another process is working on this run") from error
        yield
