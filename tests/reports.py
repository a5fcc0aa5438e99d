"""Made scores and run folders for tests of the report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dpcenet.evaluation.scores import Score, write_scores
from dpcenet.system.files import write_json
from dpcenet.training.config import Config, config_to_dict
from dpcenet.training.run_folder import Run, open_run
from made import tiny_config


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"<[^>]+>", "", page.replace("<br>", " "))


def score(method: str, case: str, label: str, dice: float, **changes: Any) -> Score:
    """A score with the given Dice (0…1) and plain other values."""
    facts: dict[str, Any] = {"support": "s", "fold": 0, "seed": 0, "protocol": "paper"}
    numbers = {"dice": dice, "iou": dice / 2, "hd95_mm": 4.0, "nsd": 0.5}
    return Score(method, case, label, **{**facts, **numbers, **changes})


def write_run(
    folder: Path,
    scores: list[Score],
    config: Config | None = None,
    facts: dict[str, Any] | None = None,
    **flags: Any,
) -> Run:
    """A run folder as `dpcenet train` and `dpcenet evaluate` leave it, without a checkpoint."""
    config = config or tiny_config(4)
    told = {
        "data": str(folder / "no data"), "fold": 0, "folds": 5, "scheme": "disjoint", "setting": 1,
        "test_labels": [], "exclusion": "any", "seed": 0, **flags,
    }  # fmt: skip
    run = {
        "format": 1, "config": config_to_dict(config), "flags": told, "data_hash": "0" * 64,
        "precision": "float32", "versions": {"commit": "abc"}, "dataset": "", **(facts or {}),
    }  # fmt: skip
    write_json(folder / "run.json", run)
    for tag in dict.fromkeys(one.protocol for one in scores):
        write_scores(folder / f"scores-{tag}.csv", [s for s in scores if s.protocol == tag])
        write_json(folder / f"summary-{tag}.json", summary(tag))
    return open_run(folder)


def write_masks(folder: Path, data: Path) -> None:
    """What `dpcenet evaluate` keeps of liver masks, here the truth, of two prepared cases."""
    (folder / "predictions-paper").mkdir()
    for n in (0, 1):
        mask = np.load(data / "cases" / f"case{n}" / "label.npy") == 1
        np.savez(
            folder / "predictions-paper" / f"case{n}-by-case2.npz",
            **{"mask liver": mask, "support slice liver": np.full(9, 4, np.int16)},
        )


def summary(tag: str) -> dict[str, Any]:
    """What `dpcenet evaluate` says of its rules."""
    return {
        "protocol": tag.partition("-")[0], "says": "", "support": "last", "shots": 1,
        "supports_trained_on": [], "chunks": 3 if tag == "paper" else None, "neighbours": 1,
        "bounds": "number" if tag == "paper" else None, "dataset": "", "scheme": "disjoint",
        "setting": 1, "exclusion": None, "data_hash": "", "methods": {},
    }  # fmt: skip
