"""Pretraining learns, and a run that was killed goes on as if it had not been."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dpcenet.data.synthetic.cohort import CohortOptions
from dpcenet.data.synthetic.episodes import CohortEpisodeOptions
from dpcenet.data.synthetic.pairs import PairOptions
from dpcenet.errors import ConfigError, RunError, WeightsError
from dpcenet.methods.incontext.model import NetworkOptions
from dpcenet.methods.incontext.weights import load_network
from dpcenet.training.checkpoint import CHECKPOINT
from dpcenet.training.config import load_options
from dpcenet.training.incontext_trainer import (
    PairTraining,
    PretrainConfig,
    hard_dice,
    learning_rate_at,
    pair_loss,
)
from dpcenet.training.log import LOG
from dpcenet.training.pretrain import CARD, STABLE, WEIGHTS, pretrain
from dpcenet.training.training_run import Pace

TINY = PretrainConfig(
    steps=12,
    warmup=2,
    batch=2,
    bfloat16=False,
    validation_batches=1,
    pairs=PairOptions(size=32),
    cohorts=CohortOptions(size=32, slices=8, patients=2),
    episodes=CohortEpisodeOptions(window=2, stay=2),
    network=NetworkOptions(size=32, widths=(4, 8, 8, 8)),
)
PACE = Pace(log_every=1, save_every=4)


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.mark.parametrize("source", ["pairs", "cohorts", "both"])
def test_a_killed_run_goes_on_with_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Literal["pairs", "cohorts", "both"]
) -> None:
    tiny = replace(TINY, source=source)
    pretrain(tiny, tmp_path / "whole", PACE)

    validations = iter([False, True])  # at the second one, steps 5…8 are in the log only

    def interrupted(*tensors: torch.Tensor) -> torch.Tensor:
        if next(validations):
            raise KeyboardInterrupt
        return hard_dice(*tensors)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dpcenet.training.incontext_trainer.hard_dice", interrupted)
        pretrain(tiny, tmp_path / "killed", PACE)
    with (tmp_path / "killed" / LOG).open("a") as stream:
        stream.write('{"step": 9, "lo')  # half a line
    assert pretrain(tiny, tmp_path / "killed", PACE) == TINY.steps
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    for name in (CHECKPOINT, WEIGHTS):
        killed, whole = (load_file(tmp_path / run / name) for run in ("killed", "whole"))
        assert killed.keys() == whole.keys()
        assert all(torch.equal(killed[key], whole[key]) for key in whole)


def test_a_run_killed_before_its_first_checkpoint_logs_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([True, True, False])

    def advance(self: PairTraining, batch: object) -> torch.Tensor:
        if not next(left):
            raise KeyboardInterrupt
        self.step += 1
        return torch.tensor(9.0)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PairTraining, "advance", advance)
        pretrain(TINY, tmp_path, PACE)
    assert losses(tmp_path) == {1: 9.0, 2: 9.0}
    pretrain(replace(TINY, steps=2), tmp_path, PACE)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert 9.0 not in losses(tmp_path).values()


def test_the_stable_state_can_be_extended(tmp_path: Path) -> None:
    pretrain(TINY, tmp_path / "short", PACE)
    longer = replace(TINY, steps=16)
    (tmp_path / "long").mkdir()
    (tmp_path / "short" / STABLE).rename(tmp_path / "long" / CHECKPOINT)
    assert pretrain(longer, tmp_path / "long", PACE) == 16
    assert min(losses(tmp_path / "long")) == 9  # the decay of the short run began after step 8


def test_the_card_tells_what_made_the_weights(tmp_path: Path) -> None:
    pretrain(replace(TINY, seed=7), tmp_path, replace(PACE, minutes=0.0))
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    first = lines[-1]["seconds"]
    pretrain(replace(TINY, seed=7), tmp_path, PACE)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    card = (tmp_path / CARD).read_text()
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert f"sha256 {digest}" in card
    assert "| seed | 7 |" in card
    assert "| steps | 12 of 12, 2 pairs each |" in card
    assert f"| time | {(first + lines[-1]['seconds']) / 60:.0f} minutes |" in card
    for line in lines:
        assert ("dice" in line) == (f"| {line['step']} | {line.get('dice', 0):.3f} |" in card)
    config = tmp_path / "config.yaml"
    config.write_text(card.partition("```yaml\n")[2].partition("```")[0])
    assert load_options(PretrainConfig, config, ()) == replace(TINY, seed=7)


def test_time_runs_out(tmp_path: Path) -> None:
    assert pretrain(TINY, tmp_path, replace(PACE, minutes=0.0)) == 1
    assert (tmp_path / CHECKPOINT).exists()


def test_weights_load_and_others_are_refused(tmp_path: Path) -> None:
    pretrain(replace(TINY, steps=1), tmp_path, PACE)
    network = load_network(tmp_path / WEIGHTS, TINY.network)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    with pytest.raises(WeightsError):
        load_network(tmp_path / WEIGHTS)
    with pytest.raises(WeightsError):
        load_network(tmp_path / "nowhere.safetensors")
    with pytest.raises(RunError):
        pretrain(replace(TINY, network=NetworkOptions(size=32)), tmp_path, PACE)


def test_learning_rate_rises_stays_and_falls() -> None:
    config = PretrainConfig(steps=100, warmup=10, decay=0.2, learning_rate=1.0)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:81] == [1.0] * 72
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)


def test_loss_and_dice_against_numpy() -> None:
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(3, 4, 5)), (rng.random((3, 4, 5)) > 0.5).astype(float)
    masks[2] = 0
    p = 1 / (1 + np.exp(-logits))
    entropy = -(masks * np.log(p) + (1 - masks) * np.log(1 - p)).mean()
    both, sizes = (p * masks).sum((1, 2)), p.sum((1, 2)) + masks.sum((1, 2))
    expected = entropy + (1 - (2 * both + 1) / (sizes + 1)).mean()
    tensors = torch.tensor(logits), torch.tensor(masks)
    assert pair_loss(*tensors).item() == pytest.approx(expected)
    hard = logits > 0
    dice = [2 * (h & (m > 0)).sum() / (h.sum() + m.sum()) for h, m in zip(hard, masks, strict=True)]
    assert hard_dice(*tensors).tolist() == pytest.approx(dice)
    assert hard_dice(torch.full((1, 2, 2), -1.0), torch.zeros(1, 2, 2)).item() == 1


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    pretrain(replace(TINY, steps=60, learning_rate=5e-3, batch=4), tmp_path, Pace(1, 60))
    values = list(losses(tmp_path).values())
    assert np.mean(values[-10:]) < np.mean(values[:10]) - 0.1


def test_another_config_does_not_go_on(tmp_path: Path) -> None:
    pretrain(replace(TINY, steps=1), tmp_path, PACE)
    with pytest.raises(RunError, match="another seed, learning_rate;"):
        pretrain(replace(TINY, seed=1, learning_rate=1.0), tmp_path, PACE)
    assert pretrain(replace(TINY, steps=2, decay=0.5), tmp_path, PACE) == 2


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cuda:99"):
        pretrain(TINY, tmp_path, PACE, "cuda:99")
