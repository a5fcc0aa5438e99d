"""`dpcenet train`: one visible loop over self-supervised episodes.

Step n uses episode n, which is a pure function of (seed, n), and every random choice of the method
comes from the episode's seed. A run that was killed therefore goes on to the same losses.

Under torchrun each process takes every world-th episode; gradients are averaged (DDP).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.errors import ConfigError, RunError
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.system.device import autocast, choose_device, choose_precision
from dpcenet.system.files import write_json
from dpcenet.system.progress import progress_bar
from dpcenet.training.checkpoint import load_checkpoint, restore, save_checkpoint, split_state
from dpcenet.training.config import Config, TrainOptions
from dpcenet.training.distributed import DistributedContext
from dpcenet.training.episodes import EpisodeSampler
from dpcenet.training.feature_cache import FeatureBank, with_trunk_features
from dpcenet.training.kept_weights import HeldOut, KeptWeights
from dpcenet.training.log import Log
from dpcenet.training.run_folder import Run, RunFlags, create_run
from dpcenet.types import Episode, Features, Prediction

CALIBRATION_SLICES = 64
CHECKS = "checks.json"
HELD_OUT_SEED = 1_000_003  # added to a run's seed: other episodes than those of the training
Steps = Iterator[tuple[int, tuple[Episode, Features | None]]]
"""Number of a step, its episode, and trunk features where they were computed before."""


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
        raise RunError(f"{folder}: was trained for {checkpoint.step} steps; add --resume to go on")
    start, kept = 0, KeptWeights()
    if checkpoint is not None:
        restore(checkpoint, method, optimiser)
        start, kept = checkpoint.step, checkpoint.kept
    else:
        refuse_frozen_noise(config, method)
        method.calibrate(calibration_images(sampler, flags.seed).to(place))
    log = Log(folder, start, context.is_first, tensorboard)
    if optimiser is None:  # nothing to train, as in `copy`: the run is complete
        save_checkpoint(folder, method, None, config.train.steps)
        return run
    stream = coming_episodes(run, dataset, sampler, method, start, context, workers)
    checked = None
    if held_out:
        drawn = make_sampler(run, dataset, held_out, maker, HELD_OUT_SEED)
        checked = HeldOut(drawn, config.train.validation, run.precision, place)
    _loop(run, method, optimiser, stream, start, context, log, quiet, kept, checked)
    context.leave()
    return run


def _loop(
    run: Run,
    method: Method,
    optimiser: torch.optim.Optimizer,
    stream: Steps,
    start: int,
    context: DistributedContext,
    log: Log,
    quiet: bool,
    kept: KeptWeights,
    held_out: HeldOut | None,
) -> None:
    """The training loop."""
    options = run.config.train
    last, wrapped = options.steps, context.wrap(method)
    hidden = quiet or not context.is_first
    with progress_bar(f"train {run.config.preset}", last, start, hidden) as bar:
        for step, (episode, features) in stream:
            rate = options.learning_rate * options.decay ** (step // options.decay_every)
            torch.manual_seed(episode.seed)
            with autocast(run.precision, context.device):
                prediction: Prediction = wrapped(episode, features)
            terms = loss_terms(prediction, episode, options)
            loss = torch.stack(list(terms.values())).sum()
            take_step(optimiser, loss, rate, options.clip_gradient)
            done = step + 1
            if options.average:
                kept.follow(split_state(method)[0], done, options.average)
            if held_out is not None and (done % options.validation.every == 0 or done == last):
                kept.check(method, held_out, done)
                write_json(run.folder / CHECKS, [asdict(check) for check in kept.checks])
            if done % options.log_every == 0 or done == last:
                values = log.write(done, loss, terms, prediction, rate)
                bar(done, f"loss {values['loss']:.3f}")
            if context.is_first and done % options.checkpoint_every == 0:
                save_checkpoint(run.folder, method, optimiser, done, kept)
    if context.is_first:
        save_checkpoint(run.folder, method, optimiser, last, kept)


def training_cases(
    run: Run, dataset: PreparedDataset
) -> tuple[tuple[PreparedCase, ...], tuple[PreparedCase, ...]]:
    """The cases that are trained on, and those held out to check the training.

    Raises:
        ConfigError: too few are left to train on.
    """
    cases, options = dataset.cases, run.config.train.validation
    if run.flags.fold is not None:
        names = run.make_fold(dataset).train
        cases = tuple(case for case in dataset.cases if case.name in names)
    if not options.every:
        return cases, ()
    if options.cases >= len(cases):
        raise ConfigError(
            f"train.validation.cases = {options.cases}: there are {len(cases)} training cases; "
            "hold out fewer, or set train.validation.every=0"
        )
    return cases[: -options.cases], cases[-options.cases :]


def make_sampler(
    run: Run,
    dataset: PreparedDataset,
    cases: tuple[PreparedCase, ...],
    device: torch.device,
    stream: int = 0,
) -> EpisodeSampler:
    """The episodes of some cases, on the slices that the run's setting allows; made on `device`.

    Raises:
        ConfigError: Setting 2 without the labels that are to be tested.
    """
    flags, options = run.flags, run.config.episodes
    if flags.setting == 2 and not flags.test_labels:
        raise ConfigError("--setting 2 needs --test-labels: their slices are kept out of training")
    if stream:  # what checks a training is of real scans, and without fixed views
        source = "supervoxel" if options.source in ("synthetic", "mixed") else options.source
        options = replace(options, source=source, views=0)
    excluded = flags.test_labels if flags.setting == 2 else ()
    trained = tuple(value for value in dataset.labels if value not in flags.test_labels)
    return EpisodeSampler(
        cases, options, flags.seed + stream, excluded, flags.exclusion, trained, device
    )


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


def make_optimiser(method: Method, options: TrainOptions) -> torch.optim.Optimizer | None:
    """SGD or AdamW over what is trained; None if nothing is."""
    trained = [p for p in method.parameters() if p.requires_grad]
    if not trained:
        return None
    parameters: Any = trained
    if method.trunk is not None and not method.trunk_frozen and options.trunk_rate != 1:
        own = {id(p) for p in method.trunk.parameters()}
        parameters = [
            {"params": [p for p in trained if id(p) not in own], "share": 1.0},
            {"params": [p for p in trained if id(p) in own], "share": options.trunk_rate},
        ]
    if options.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters, options.learning_rate, weight_decay=options.weight_decay
        )
    return torch.optim.SGD(
        parameters, options.learning_rate, options.momentum, weight_decay=options.weight_decay
    )


def calibration_images(sampler: EpisodeSampler, seed: int) -> Tensor:
    """(≤64, 1, H, W): slices that may be trained on, drawn evenly over the cases."""
    random = np.random.default_rng([seed, CALIBRATION_SLICES])
    count = max(1, CALIBRATION_SLICES // len(sampler.cases))
    chosen = islice(zip(sampler.cases, sampler.allowed, strict=True), CALIBRATION_SLICES)
    slices = [
        case.image[z]
        for case, allowed in chosen
        for z in random.permutation(np.flatnonzero(allowed))[:count]
    ]
    return torch.from_numpy(np.stack(slices).astype(np.float32))[:, None]


def coming_episodes(
    run: Run,
    dataset: PreparedDataset,
    sampler: EpisodeSampler,
    method: Method,
    start: int,
    context: DistributedContext,
    workers: int,
) -> Steps:
    """(step, (episode, trunk features if the trunk is frozen)) of the steps from `start` on.

    With fixed views the features come from a bank; else those of a few coming episodes are
    computed in one batch. Batches are cut at multiples of `ahead`, so that a resumed run computes
    the same ones.
    """
    options = run.config.train
    ahead = options.ahead if method.trunk_frozen else 1
    begin = start - start % ahead
    mine = range(begin * context.size + context.rank, options.steps * context.size, context.size)
    stream: Iterator[tuple[Episode, Features | None]]
    if method.trunk_frozen and run.config.episodes.views:
        bank = FeatureBank(dataset, sampler, method, run.precision, context.device, options.bank_gb)
        stream = iter(bank.episodes(sampler.plan(n) for n in mine))
    else:
        loader = DataLoader(sampler, batch_size=None, sampler=mine, num_workers=workers)
        episodes = (episode.to(context.device) for episode in loader)
        if method.trunk_frozen:
            stream = iter(with_trunk_features(episodes, method, run.precision, ahead))
        else:
            stream = ((episode, None) for episode in episodes)
    return islice(enumerate(stream, begin), start - begin, None)


def loss_terms(
    prediction: Prediction, episode: Episode, options: TrainOptions
) -> dict[str, Tensor]:
    """The query's loss and the method's own terms by name (of DPCENet: 1.11 and 1.12)."""
    assert episode.query_masks is not None
    query = segmentation_loss(prediction.log_probs, episode.query_masks, options.class_weights)
    return {"query": query, **prediction.losses}


def take_step(
    optimiser: torch.optim.Optimizer, loss: Tensor, rate: float, clip_gradient: float
) -> None:
    """One optimiser step at the given learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_gradient:
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, clip_gradient)
    optimiser.step()
