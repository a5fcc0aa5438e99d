"""`dpcenet train`: a method learns from self-supervised episodes.

Step n uses episode n, which is a pure function of (seed, n), and every random choice of the method
comes from the episode's seed. A run that was killed therefore goes on to the same losses.

Under torchrun each process takes every world-th episode; gradients are averaged (DDP).
"""

from __future__ import annotations

from pathlib import Path

import torch

from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.errors import ConfigError, RunError
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.system.device import choose_device, choose_precision
from dpcenet.system.progress import progress_bar
from dpcenet.system.words import counted
from dpcenet.training.checkpoint import load_checkpoint, restore, save_checkpoint
from dpcenet.training.config import Config, TrainOptions
from dpcenet.training.distributed import DistributedContext
from dpcenet.training.episode_training import EpisodeTraining, make_optimiser
from dpcenet.training.kept_weights import HeldOut, KeptWeights
from dpcenet.training.log import Log
from dpcenet.training.run_folder import Run, RunFlags, create_run
from dpcenet.training.training_data import (
    calibration_images,
    coming_episodes,
    make_sampler,
    training_cases,
)
from dpcenet.training.training_run import Pace

HELD_OUT_SEED = 1_000_003  # added to a run's seed: other episodes than those of the training


def train(
    config: Config,
    flags: RunFlags,
    folder: Path,
    *,
    device: str = "auto",
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> Run:
    """Train a method on a prepared data set, without a label unless the preset asks for labels.

    With several processes: `torchrun --nproc-per-node 2 -m -- dpcenet train …` (the two dashes keep
    torchrun from reading --run as its own option).

    Args:
        config: the resolved preset.
        flags: data, fold, setting, seed.
        folder: of the run.
        device: "auto", "cpu", "cuda", …
        workers: processes that prepare episodes; the episodes are the same for any number.
        resume: go on from the checkpoint; without it, a folder with a checkpoint is refused.
        tensorboard: also write RUN/tensorboard.
        quiet: no progress bar.

    Raises:
        DatasetError, ConfigError, RunError: the message says what to do.
    """
    context = DistributedContext.join(choose_device(device))
    place = context.device
    dataset = open_dataset(flags.data)
    precision = choose_precision(config.train.precision, place)
    run = create_run(folder, config, flags, dataset, precision)
    # Processes that prepare episodes have no GPU of their own.
    maker = torch.device("cpu") if workers else place
    trained_on, held_out = training_cases(run, dataset)
    sampler = make_sampler(run, dataset, trained_on, maker)
    torch.manual_seed(flags.seed)
    method = build_method(config.method, config.options).to(place).train()
    optimiser = make_optimiser(method, config.train)
    checkpoint = load_checkpoint(folder)
    if checkpoint is not None and not resume:
        steps = counted(checkpoint.step, "step")
        raise RunError(f"{folder}: was trained for {steps}; add --resume to go on")
    start, kept = 0, KeptWeights()
    if checkpoint is not None:
        restore(checkpoint, method, optimiser)
        start, kept = checkpoint.step, checkpoint.kept
    else:
        refuse_frozen_noise(config, method)
        method.calibrate(calibration_images(sampler, flags.seed).to(place))
    log = Log(folder, start, context.is_first, tensorboard)
    if optimiser is None or not config.train.steps:  # nothing to train: the run is complete
        save_checkpoint(folder, method, None, config.train.steps)
        return run
    stream = coming_episodes(run, dataset, sampler, method, start, context, workers)
    checked = _held_out(run, dataset, held_out, maker, context) if held_out else None
    hidden, title = quiet or not context.is_first, f"train {config.preset}"
    with progress_bar(title, config.train.steps, start, hidden) as bar:
        training = EpisodeTraining(
            run, method, optimiser, context, stream, log, bar, checked, kept, start
        )
        training.go(_pace(config.train))
    context.leave()
    return run


def refuse_frozen_noise(config: Config, method: Method) -> None:
    """
    Raises:
        ConfigError: the trunk has random weights and is not trained either.
    """
    trunk = method.trunk
    if method.trunk_frozen and trunk is not None and trunk.options.weights is None:
        raise ConfigError(
            f"preset {config.preset}: the trunk {trunk.options.name} is frozen and has no weights; "
            "give its file with --weights, take the preset own of the method, or --set "
            "options.encoder.frozen=false"
        )


def _held_out(
    run: Run,
    dataset: PreparedDataset,
    cases: tuple[PreparedCase, ...],
    maker: torch.device,
    context: DistributedContext,
) -> HeldOut:
    """The check on episodes of cases that are not trained on."""
    sampler = make_sampler(run, dataset, cases, maker, HELD_OUT_SEED)
    return HeldOut(sampler, run.config.train.validation, run.precision, context.device)


def _pace(options: TrainOptions) -> Pace:
    return Pace(options.log_every, options.checkpoint_every, options.validation.every)
