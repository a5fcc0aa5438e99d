"""EP1, EP2 and several shots through `evaluate`; what a summary and a table say of their rules."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.store import open_dataset
from dpcenet.errors import ConfigError
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.rules import rules_of
from dpcenet.system.files import read_json, write_json
from dpcenet.system.texts import joined
from dpcenet.training.run_folder import Run, RunFlags
from dpcenet.training.train import train
from made import tiny_config, write_prepared

BLOCKS = [["case0", "case6"], ["case1"], ["case2"], ["case3"], ["case4", "case5"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set with written folds and groups."""
    folder = write_prepared(tmp_path_factory.mktemp("prepared"))
    manifest = read_json(folder / "manifest.json")
    manifest["dataset"] = {"name": "made", "folds": BLOCKS, "groups": {"lower": [2]}}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    flags = RunFlags(data, fold=0, scheme="lineage", setting=2, test_labels=(2,), exclusion="any")
    return train(tiny_config(2), flags, tmp_path_factory.mktemp("run") / "a", quiet=True)


def test_written_folds_are_the_runs_folds(run: Run, data: Path) -> None:
    fold = run.make_fold(open_dataset(data))
    assert fold.test == ("case0", "case6", "case1")
    assert fold.train == ("case2", "case3", "case4", "case5")
    assert run.facts["dataset"] == "made"


def test_ep2_serves_every_slice_with_the_middle_one(run: Run) -> None:
    scores = evaluate(run.folder, ProtocolOptions("ep2"), quiet=True)
    assert {score.case for score in scores} == {"case0", "case6"}
    assert {score.protocol for score in scores} == {"ep2"}
    with np.load(run.folder / "predictions-ep2/case0-by-case1.npz") as arrays:
        assert arrays["support slice kidney"].tolist() == [5] * 9  # organ slices 2…7


def test_two_shots_use_both_scans(run: Run) -> None:
    one = evaluate(run.folder, ProtocolOptions("paper"), quiet=True)
    two = evaluate(run.folder, ProtocolOptions("paper", shots=2), quiet=True)
    assert {(s.case, s.support, s.protocol) for s in two} == {
        ("case6", "case1+case0", "paper-2shot")
    }
    assert (run.folder / "scores-paper.csv").exists()
    with (run.folder / "scores-paper-2shot.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(two) == 2
    dice = {(s.method, s.case): s.dice for s in one}
    copied = next(s for s in two if s.method == "copy")
    assert copied.dice != dice["copy", "case6"]


def test_two_shots_of_copy_are_the_overlap_of_two_masks(run: Run, data: Path) -> None:
    """By hand: the mean of two pasted masks is above one half where both show the organ."""
    scores = evaluate(run.folder, ProtocolOptions("paper", shots=2, chunks=1), quiet=True)
    dataset = open_dataset(data)
    labels = {
        name: np.asarray(dataset.case(name).label) == 2 for name in ("case0", "case1", "case6")
    }
    pasted = labels["case0"][5] & labels["case1"][5]
    truth = labels["case6"]
    shown = truth.any(axis=(1, 2))
    overlap = 2 * (truth & pasted).sum()
    dice = overlap / (truth.sum() + shown.sum() * pasted.sum())
    assert next(s for s in scores if s.method == "copy").dice == pytest.approx(dice)


def test_two_shots_blind(run: Run, tmp_path: Path) -> None:
    scores = evaluate(run.folder, ProtocolOptions("blind", shots=2), quiet=True)
    assert {s.protocol for s in scores} == {"blind-2shot"}
    assert report([run.folder], tmp_path).stat().st_size > 1000


def test_too_many_shots(run: Run) -> None:
    with pytest.raises(ConfigError, match="--shots 3"):
        evaluate(run.folder, ProtocolOptions(shots=3), quiet=True)


def test_the_summary_names_its_rules_and_what_setting_2_removed(run: Run, data: Path) -> None:
    evaluate(run.folder, ProtocolOptions("paper", chunks=1, bounds="range"), quiet=True)
    summary = json.loads((run.folder / "summary-paper.json").read_text())
    assert summary["chunks"] == 1 and summary["bounds"] == "range"
    assert "looks at the query's truth" in summary["says"]
    assert summary["exclusion"] == {
        "rule": "any",
        "labels": ["kidney"],
        "training_slices": 4 * 9,
        "removed_by_any": 4 * 6,
        "removed_by_all": 4 * 6,
    }
    line = joined(rules_of(summary))
    for part in (
        "EP1",
        "1 chunks by range",
        "folds lineage",
        "of 36 training slices",
        "removes 24",
    ):
        assert part in line


def test_supports_that_were_trained_on_are_named(data: Path, tmp_path: Path) -> None:
    run = train(tiny_config(1), RunFlags(data, fold=1), tmp_path / "run", quiet=True)
    scores = evaluate(run.folder, ProtocolOptions("paper", shots=2), quiet=True)
    assert {score.support for score in scores} == {"case2+case3"}
    summary = read_json(run.folder / "summary-paper-2shot.json")
    assert summary["supports_trained_on"] == ["case3"] and summary["exclusion"] is None
    assert "supports seen in training: case3" in joined(rules_of(summary))
