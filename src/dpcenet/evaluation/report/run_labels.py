"""What a run is in a table: the name of its line, its data set, and what was spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dpcenet.errors import RunError
from dpcenet.evaluation.benchmark.run_experiment import state_of
from dpcenet.system.files import hash_of, read_json
from dpcenet.system.texts import Saying, saying
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import ADAPTED, Run


class DataKey(NamedTuple):
    """A data set by its name, empty where it has none, and the setting: 1 or 2."""

    dataset: str
    setting: int

    def __str__(self) -> str:
        return f"{self.dataset}-{self.setting}"


def data_key(run: Run) -> DataKey:
    """The data set's name in a benchmark or in its specification, and the run's setting."""
    name = state_of(run.folder).get("data") or run.facts.get("dataset", "")
    return DataKey(str(name), run.flags.setting)


def row_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its line in a benchmark, or its preset.

    The folder is added where several configs share a preset.
    """
    configs: dict[str, set[str]] = {}
    for run in runs:
        configs.setdefault(run.config.preset, set()).add(hash_of(config_to_dict(run.config)))

    def name(run: Run) -> str:
        preset = run.config.preset
        alone = preset if len(configs[preset]) == 1 else f"{preset} ({run.folder.name})"
        return state_of(run.folder).get("row") or alone

    return [name(run) for run in runs]


def budget(runs: Sequence[Run]) -> tuple[Saying, ...]:
    """What was spent on the runs of a table: steps, folds, seeds and trunks."""
    histories = [run.folder / ADAPTED for run in runs]
    made = [read_json(p, {"kept": int}, error=RunError) for p in histories if p.is_file()]
    kept = {history["kept"] for history in made}
    parts = [saying("budget.adapted", steps=_listed(kept))] if kept else []
    trained = [run for run in runs if run.config.train.steps]
    if not trained:
        return tuple(parts) or (Saying("budget.nothing"),)
    rules = {run.flags.exclusion for run in trained if run.flags.setting == 2}
    folds = {run.flags.fold for run in runs if run.flags.fold is not None}
    parts += [Saying(f"budget.without.{rule}") for rule in sorted(rules)]
    steps = _listed({run.config.train.steps for run in trained})
    parts.append(saying("budget.steps", steps=steps))
    parts.append(saying("budget.fold", folds=_listed(folds), of=runs[0].flags.folds))
    parts.append(saying("budget.seed", seeds=_listed({run.flags.seed for run in trained})))
    return (*parts, *_trunks(trained))


def _trunks(runs: Sequence[Run]) -> list[Saying]:
    """The trunks of runs, each once."""
    encoders = [run.config.options.trunk for run in runs]
    kinds = {(f"{e.name} {e.layout}", "frozen" if e.frozen else "trained") for e in encoders if e}
    return [saying(f"budget.trunk.{kind}", trunk=trunk) for trunk, kind in sorted(kinds)]


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)))
