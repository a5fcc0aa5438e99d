"""Averaged weights, and the check on held-out episodes that chooses step and cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.errors import ConfigError, RunError
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.training.checkpoint import load_checkpoint
from dpcenet.training.config import Config
from dpcenet.training.episode_training import CHECKS
from dpcenet.training.kept_weights import KeptWeights, ValidationOptions
from dpcenet.training.run_folder import RunFlags, open_run
from dpcenet.training.train import train
from made import tiny_config, write_prepared

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"))


def config(steps: int = 6, **train_options: object) -> Config:
    plain = tiny_config(steps, frozen=True)
    return replace(plain, train=replace(plain.train, **train_options))


def test_the_running_mean_follows_the_weights() -> None:
    kept, values = KeptWeights(), [3.0, 5.0, -1.0]
    mean = values[0]
    for step, value in enumerate(values, 1):
        kept.follow({"w": torch.tensor(value)}, step, 0.25)
        keep = min(0.25, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * value
    assert float(kept.average["w"]) == pytest.approx(mean)


def test_the_best_check_predicts_and_is_chosen_by_its_dice(data: Path, tmp_path: Path) -> None:
    checked = ValidationOptions(every=2, cases=2, episodes=4)
    run = train(
        config(average=0.9, validation=checked),
        RunFlags(data, fold=0, folds=3),
        tmp_path / "run",
        device="cpu",
        quiet=True,
    )
    checks = json.loads((run.folder / CHECKS).read_text())
    assert [check["step"] for check in checks] == [2, 4, 6]
    checkpoint = load_checkpoint(run.folder)
    assert checkpoint is not None and checkpoint.kept.chosen is not None
    best = max(checks, key=lambda check: check["dice"])
    assert checkpoint.kept.chosen.step == best["step"]
    assert best["dice_at_cut"] >= best["dice"] - 1e-6 and run.checked_cut() == best["cut"]
    state = run.load_method(CPU, fast=False).state_dict()
    kept = checkpoint.kept.best
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert any(not torch.equal(checkpoint.model[name], kept[name]) for name in kept)


def test_a_resumed_run_keeps_the_same_weights(data: Path, tmp_path: Path) -> None:
    checked = ValidationOptions(every=2, cases=2, episodes=3)
    flags = RunFlags(data, fold=0, folds=3)
    long = config(average=0.9, validation=checked)
    train(long, flags, tmp_path / "whole", device="cpu", quiet=True)
    short = config(4, average=0.9, validation=checked)
    train(short, flags, tmp_path / "cut", device="cpu", quiet=True)
    facts = json.loads((tmp_path / "whole" / "run.json").read_text())
    (tmp_path / "cut" / "run.json").write_text(json.dumps(facts))  # now to be trained for longer
    whole = open_run(tmp_path / "cut").config
    train(whole, flags, tmp_path / "cut", device="cpu", resume=True, quiet=True)
    one, two = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "cut")
    assert one is not None and two is not None and one.kept.checks == two.kept.checks
    for mine, other in ((one.kept.average, two.kept.average), (one.kept.best, two.kept.best)):
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_held_out_cases_leave_some_to_train_on(data: Path, tmp_path: Path) -> None:
    greedy = config(validation=ValidationOptions(every=2, cases=7))
    with pytest.raises(ConfigError, match="hold out fewer"):
        train(greedy, RunFlags(data), tmp_path / "run", device="cpu", quiet=True)


def test_a_frozen_trunk_without_weights_is_refused(data: Path, tmp_path: Path) -> None:
    plain = config()
    bare = replace(plain, options=plain.options.with_weights(None))
    with pytest.raises(ConfigError, match="frozen and has no weights"):
        train(bare, RunFlags(data), tmp_path / "run", device="cpu", quiet=True)


def test_modules_taken_out_and_another_cut_have_tables_of_their_own(
    data: Path, tmp_path: Path
) -> None:
    checked = ValidationOptions(every=3, cases=2, episodes=3, cuts=(0.9,))
    flags, folder = RunFlags(data, fold=0, folds=3), tmp_path / "run"
    run = train(config(validation=checked), flags, folder, device="cpu", quiet=True)
    for options, tag in (
        (ProtocolOptions(without=("sqca", "dpce")), "paper-without-sqca-without-dpce"),
        (ProtocolOptions(cut="checked"), "paper-cut"),
        (ProtocolOptions(as_volume=True), "paper-volume"),
    ):
        scores = evaluate(folder, options, device="cpu", quiet=True)
        assert scores and {score.protocol for score in scores} == {tag}
        assert (run.folder / f"scores-{tag}.csv").exists()
    summary = json.loads((folder / "summary-paper-cut.json").read_text())
    assert summary["cut"] == 0.9 and np.isfinite(summary["methods"]["tiny"]["mean"]["dice"])


def test_a_cut_that_nothing_chose_is_refused(data: Path, tmp_path: Path) -> None:
    train(config(2), RunFlags(data, fold=0, folds=3), tmp_path / "run", device="cpu", quiet=True)
    with pytest.raises(RunError, match="no check chose a cut"):
        evaluate(tmp_path / "run", ProtocolOptions(cut="checked"), device="cpu", quiet=True)
