"""Training: a killed run goes on to the same losses, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dpcenet.errors import ConfigError, RunError
from dpcenet.training.checkpoint import CHECKPOINT, load_checkpoint
from dpcenet.training.run_folder import RunFlags, open_run
from dpcenet.training.train import train
from made import tiny_config, write_prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"))


def losses(folder: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len({row["step"] for row in rows}) == len(rows)
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.parametrize(
    ("frozen", "views", "centre"),
    [(False, 0, False), (False, 0, True), (True, 0, False), (True, 3, True)],
)
def test_a_resumed_run_equals_an_undisturbed_one(
    data: Path, tmp_path: Path, frozen: bool, views: int, centre: bool
) -> None:
    config, flags = tiny_config(7, frozen, views), RunFlags(data, fold=0, folds=3)
    config = replace(config, options=replace(config.options, centre=centre))
    train(config, flags, tmp_path / "whole", device="cpu", quiet=True)

    class Killed(Exception):
        """Stands for a kill: raised while step 6 is logged, after the checkpoint of step 4."""

    from dpcenet.training import episode_training as module

    original = module.take_step
    calls = 0

    def stop_at_six(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise Killed
        original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "take_step", stop_at_six)
        with pytest.raises(Killed):
            train(config, flags, tmp_path / "cut", device="cpu", quiet=True)
    assert max(losses(tmp_path / "cut")) == 5
    train(config, flags, tmp_path / "cut", device="cpu", resume=True, quiet=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    one, two = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "cut")
    assert one is not None and two is not None and one.step == two.step == 7
    assert all(torch.equal(one.model[name], two.model[name]) for name in one.model)


def command(data: Path, run: Path, steps: int) -> list[str]:
    """The command line of a small run."""
    changes = {
        "options.encoder.name": "resnet18",
        "options.width": 8,
        "train.precision": "float32",
        "train.log_every": 1,
        "train.checkpoint_every": 3,
        "episodes.min_area": 20,
    }
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    flags = ["--data", str(data), "--run", str(run), "--fold", "0", "--folds", "3"]
    return ["train", "dpcenet/small", *flags, "--steps", str(steps), "--device", "cpu", *sets]


def test_kill_9_and_resume(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    python = [sys.executable, "-m", "dpcenet"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*python, *command(data, whole, 8)], check=True, env=environment)
    process = subprocess.Popen([*python, *command(data, cut, 8)], env=environment)
    while not (cut / CHECKPOINT).exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*python, *command(data, cut, 8), "--resume"], check=True, env=environment)
    assert losses(cut) == losses(whole)


def test_the_number_of_workers_changes_nothing(data: Path, tmp_path: Path) -> None:
    config, flags = tiny_config(4), RunFlags(data, fold=0, folds=3)
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        train(config, flags, folder, device="cpu", workers=workers, quiet=True)
    assert losses(tmp_path / "0") == losses(tmp_path / "2")


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    """torchrun with two gloo processes: gradients are averaged over two episodes a step."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    together = [*launcher, "--master-port", "29581", "-m", "--", "dpcenet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = tmp_path / "run"
    subprocess.run(
        [*together, *command(data, run, 4)], check=True, env=environment, capture_output=True
    )
    assert sorted(losses(run)) == [1, 2, 3, 4]
    single = tmp_path / "single"
    subprocess.run(
        [sys.executable, "-m", "dpcenet", *command(data, single, 4)], check=True, env=environment
    )
    assert losses(run)[1] == pytest.approx(losses(single)[1], rel=1e-5)  # both start at episode 0
    one, two = load_checkpoint(run), load_checkpoint(single)
    assert one is not None and two is not None and one.step == 4
    assert any(not torch.equal(one.model[name], two.model[name]) for name in one.model)


def test_a_trained_folder_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    config, flags = tiny_config(2), RunFlags(data, fold=0, folds=3)
    train(config, flags, tmp_path / "run", device="cpu", quiet=True)
    with pytest.raises(RunError, match="--resume"):
        train(config, flags, tmp_path / "run", device="cpu", quiet=True)
    with pytest.raises(RunError, match="other settings"):
        train(config, replace(flags, seed=1), tmp_path / "run", device="cpu", quiet=True)


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    config, flags = tiny_config(2), RunFlags(data, fold=0, folds=3)
    run = train(config, flags, tmp_path / "run", device="cpu", quiet=True)
    path = run.folder / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: cannot be read"):
        open_run(run.folder).load_method(torch.device("cpu"))


def test_setting_2_asks_for_the_tested_labels(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--test-labels"):
        train(tiny_config(2), RunFlags(data, setting=2), tmp_path / "run", quiet=True)


def test_the_log_tells_how_sharp_each_attention_is(data: Path, tmp_path: Path) -> None:
    run = train(tiny_config(2), RunFlags(data, fold=0, folds=3), tmp_path / "run", quiet=True)
    row = json.loads((run.folder / "log.jsonl").read_text().splitlines()[-1])
    for name in ("sqca", "spatial", "channel"):
        assert row[f"layer1.{name}"] >= 1


def test_a_method_trains_on_made_up_pairs(data: Path, tmp_path: Path) -> None:
    config = tiny_config(3)
    episodes = replace(config.episodes, source="synthetic", made_size=64)
    config = replace(config, episodes=episodes, options=replace(config.options, centre=True))
    train(config, RunFlags(data, fold=0, folds=3), tmp_path / "run", device="cpu", quiet=True)
    assert sorted(losses(tmp_path / "run")) == [1, 2, 3]
