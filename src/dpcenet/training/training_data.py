"""What a run is trained on: its cases, and the episodes of the coming steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.errors import ConfigError
from dpcenet.methods.base import Method
from dpcenet.training.distributed import DistributedContext
from dpcenet.training.episodes import EpisodeSampler
from dpcenet.training.feature_cache import FeatureBank, with_trunk_features
from dpcenet.training.run_folder import Run
from dpcenet.types import Episode, Features

CALIBRATION_SLICES = 64
Step = tuple[Episode, Features | None]
"""The episode of a step, and its trunk features where they were computed before."""


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
            f"train.validation.cases = {options.cases}: training cases: {len(cases)}; "
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
) -> Iterator[Step]:
    """The episodes of the steps from `start` on, with trunk features if the trunk is frozen.

    With fixed views the features come from a bank; else those of a few coming episodes are
    computed in one batch. Batches are cut at multiples of `ahead`, so that a resumed run computes
    the same ones.
    """
    options = run.config.train
    ahead = options.ahead if method.trunk_frozen else 1
    begin = start - start % ahead
    mine = range(begin * context.size + context.rank, options.steps * context.size, context.size)
    stream: Iterator[Step]
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
    return islice(stream, start - begin, None)
