"""What a run is in a table: the name of its line, its data set, and what was spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpcenet.system.files import hash_of, read_json
from dpcenet.training.config import config_to_dict
from dpcenet.training.run_folder import ADAPTED, Run


def row_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its line in a benchmark, or its preset.

    The folder is added where several configs share a preset.
    """
    rows = [experiment(run).get("row") for run in runs]
    configs = [hash_of(config_to_dict(run.config)) for run in runs]
    of_preset: dict[str, set[str]] = {}
    for run, config in zip(runs, configs, strict=True):
        of_preset.setdefault(run.config.preset, set()).add(config)
    return [
        row
        or (
            run.config.preset
            if len(of_preset[run.config.preset]) == 1
            else f"{run.config.preset} ({run.folder.name})"
        )
        for run, row in zip(runs, rows, strict=True)
    ]


def experiment(run: Run) -> dict[str, Any]:
    """What a benchmark wrote down of a run; empty for a run of `dpcenet train`."""
    path = run.folder / "experiment.json"
    return read_json(path) if path.is_file() else {}


def data_name(run: Run) -> str:
    """The data set's name in a benchmark, or of its specification."""
    return str(experiment(run).get("data") or run.facts.get("dataset", ""))


def budget(runs: Sequence[Run]) -> str:
    """What the trained runs of a table have in common, and what not."""
    trained = [run for run in runs if run.config.train.steps]
    histories = [run.folder / ADAPTED for run in runs if (run.folder / ADAPTED).is_file()]
    kept = sorted({read_json(path)["kept"] for path in histories})
    adapted = [f"adapted to unlabelled scans for {_listed(kept)} steps"] if kept else []
    if not trained:
        return adapted[0] if adapted else "nothing was trained"
    steps = sorted({run.config.train.steps for run in trained})
    encoders = [getattr(run.config.options, "encoder", None) for run in trained]
    trunks = sorted(
        {f"{e.name} {e.layout}, {'frozen' if e.frozen else 'trained'}" for e in encoders if e}
    )
    folds = sorted({run.flags.fold for run in runs if run.flags.fold is not None})
    seeds = sorted({run.flags.seed for run in trained})
    exclusions = sorted({run.flags.exclusion for run in trained if run.flags.setting == 2})
    parts = [
        *adapted,
        *(f"training without slices that show {rule} of a group" for rule in exclusions),
        f"{_listed(steps)} steps",
        f"fold {_listed(folds)} of {runs[0].flags.folds}",
        f"seed {_listed(seeds)}",
        *(f"trunk {trunk}" for trunk in trunks),
    ]
    return "; ".join(parts)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
