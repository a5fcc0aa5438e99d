"""One experiment: train, evaluate, and say what it cost. Killed and called again, it goes on.

RUN/experiment.json    key, version of the code, state, cost; beside what train and evaluate write
"""

from __future__ import annotations

import ast
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import dpcenet
from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.resources import Clock, energy_joules, peak_memory_gb, reset_peak
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.scores import COPY, read_scores
from dpcenet.system.files import hash_of, read_json, write_json
from dpcenet.training.checkpoint import CHECKPOINT
from dpcenet.training.train import train

STATE = "experiment.json"
PACKAGE = Path(dpcenet.__file__).parent
DECIDE_NO_NUMBER = (
    "__main__.py", "cli/", "data/contact_sheet.py", "data/doctor/", "data/synthetic/preview.py",
    "errors.py", "evaluation/benchmark/", "evaluation/report/", "segmentation/",
    "system/allocation.py", "system/environment.py", "system/parallel.py", "system/progress.py",
    "training/log.py", "training/model_card.py", "training/pretrain.py", "volumes/adapters.py",
    "volumes/dicom/write_seg.py", "volumes/mask_record.py", "volumes/mesh.py",
)  # fmt: skip
"""Sources that change no score of a run: beginnings of their paths inside the package."""


@dataclass(frozen=True)
class Place:
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


def code_version() -> str:
    """Hash of the sources that decide a run's numbers (configs are in its key already)."""
    return hash_of({name: _statements(PACKAGE / name) for name in deciding_files()})[:16]


def deciding_files() -> list[str]:
    """Sources that decide a run's numbers: paths inside the package, with "/" between folders."""
    names = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return [name for name in names if not name.startswith(DECIDE_NO_NUMBER)]


def _statements(path: Path) -> str:
    """What a source does: without its layout, comments and docstrings, which may be edited."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)


def state_of(folder: Path) -> dict[str, Any]:
    """What RUN/experiment.json says; empty where there is none."""
    path = folder / STATE
    return read_json(path) if path.is_file() else {}


def is_done(experiment: Experiment, out: Path, code: str | None) -> bool:
    """Whether the experiment is complete, by this version of the code; None takes any version."""
    state = state_of(experiment.folder(out))
    same = state.get("key") == experiment.key and code in (None, state.get("code"))
    return same and state.get("state") == "done"


def run_experiment(place: Place, experiment: Experiment) -> float:
    """Train and evaluate.

    Returns:
        the mean Dice in percent under the first protocol.

    Raises:
        DpcenetError: as `train` and `evaluate`, or another process is at this run.
    """
    if place.threads:
        torch.set_num_threads(place.threads)
    folder = experiment.folder(place.out)
    with _only_me(folder):
        if state_of(folder).get("code", place.code) != place.code:
            _empty(folder)
        facts = {
            "row": experiment.row,
            "data": experiment.data,
            "key": experiment.key,
            "code": place.code,
        }
        resumed = (folder / CHECKPOINT).exists()
        write_json(folder / STATE, {**facts, "state": "begun"})
        cost = _train_and_evaluate(place, experiment, folder)
        write_json(folder / STATE, {**facts, "state": "done", "resumed": resumed, "cost": cost})
        return _dice(folder, experiment)


def _train_and_evaluate(place: Place, experiment: Experiment, folder: Path) -> dict[str, Any]:
    """The work itself; returns what it cost."""
    whole = reset_peak()
    energy = energy_joules()
    clock = Clock()
    train(experiment.config, experiment.flags, folder, device=place.device, resume=True, quiet=True)
    trained = clock.read()
    for rules in experiment.rules:
        if not (folder / f"summary-{rules.tag}.json").exists():  # it is written last
            evaluate(
                folder,
                rules.protocol,
                support=rules.support,
                shots=rules.shots,
                device=place.device,
                quiet=True,
            )
    evaluated = clock.read()
    return {
        "train_seconds": trained.wall,
        "train_cpu_seconds": trained.cpu,
        "evaluate_seconds": round(evaluated.wall - trained.wall, 2),
        "evaluate_cpu_seconds": round(evaluated.cpu - trained.cpu, 2),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "peak_is_of_this_run": whole,
        "threads": torch.get_num_threads(),
        "gpu_peak_memory_gb": _gpu_peak_gb(),
        "energy_joules": _since(energy),
    }


def _since(energy: float | None) -> float | None:
    """Energy that was used since; None where it cannot be read, or the counter began anew."""
    now = energy_joules()
    if energy is None or now is None or now < energy:
        return None
    return round(now - energy, 1)


def _gpu_peak_gb() -> float | None:
    """Largest memory that torch held on the GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e9, 3)


def _dice(folder: Path, experiment: Experiment) -> float:
    """Mean Dice in percent under the first protocol."""
    scores = read_scores(folder / f"scores-{experiment.rules[0].tag}.csv")
    mine = [score.dice for score in scores if score.method == experiment.config.preset]
    return 100 * fmean(mine or [score.dice for score in scores if score.method == COPY])


def _empty(folder: Path) -> None:
    """Remove a run that another version of the code made; the lock stays."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


@contextmanager
def _only_me(folder: Path) -> Iterator[None]:
    """Hold the run's lock.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{folder}: another process is working on this run") from error
        yield
