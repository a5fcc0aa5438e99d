"""`dpcenet train`: one visible loop over self-supervised episodes.

Step n uses episode n, which is a pure function of (seed, n), and every random choice of the method
comes from the episode's seed. A run that was killed therefore goes on to the same losses.

Under torchrun each process takes every world-th episode; gradients are averaged (DDP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.errors import ConfigError, RunError
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.system.device import autocast, choose_device, choose_precision
from dpcenet.system.files import write_json
from dpcenet.system.progress import Advance, progress_bar
from dpcenet.training.checkpoint import load_checkpoint, restore, save_checkpoint, split_state
from dpcenet.training.config import Config, TrainOptions
from dpcenet.training.distributed import DistributedContext
from dpcenet.training.kept_weights import HeldOut, KeptWeights
from dpcenet.training.log import Log
from dpcenet.training.run_folder import Run, RunFlags, create_run
from dpcenet.training.training_data import (
    Step,
    calibration_images,
    coming_episodes,
    make_sampler,
    training_cases,
)
from dpcenet.training.training_run import Pace, TrainingRun
from dpcenet.types import Episode, Prediction

CHECKS = "checks.json"
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
    checked = _held_out(run, dataset, held_out, maker, context) if held_out else None
    hidden, title = quiet or not context.is_first, f"train {config.preset}"
    with progress_bar(title, config.train.steps, start, hidden) as bar:
        training = EpisodeTraining(
            run, method, optimiser, context, stream, log, bar, checked, kept, start
        )
        training.go(_pace(config.train))
    context.leave()
    return run


@dataclass
class EpisodeTraining(TrainingRun[Step]):
    """A method in training on episodes.

    Attributes:
        run: its folder and config.
        method, optimiser: what is trained, and by what.
        context: this process among those that train together.
        stream: the episodes of the coming steps.
        log, bar: where the progress is told.
        held_out: what checks the training; None leaves the check out.
        kept: which weights are kept to predict.
        step: how many steps are done.
    """

    run: Run
    method: Method
    optimiser: torch.optim.Optimizer
    context: DistributedContext
    stream: Iterator[Step]
    log: Log
    bar: Advance
    held_out: HeldOut | None
    kept: KeptWeights
    step: int

    def __post_init__(self) -> None:
        self.options, self.precision = self.run.config.train, self.run.precision
        self.steps = self.options.steps
        self._wrapped = self.context.wrap(self.method)
        self._latest: Callable[[], dict[str, float]] = dict

    def batches(self) -> Iterator[Step]:
        """See `TrainingRun`."""
        return self.stream

    def learn(self, batch: Step) -> None:
        """See `TrainingRun`."""
        (episode, features), options = batch, self.options
        rate = options.learning_rate * options.decay ** (self.step // options.decay_every)
        torch.manual_seed(episode.seed)
        with autocast(self.precision, self.context.device):
            prediction: Prediction = self._wrapped(episode, features)
        terms = loss_terms(prediction, episode, options)
        loss = torch.stack(list(terms.values())).sum()
        take_step(self.optimiser, loss, rate, options.clip_gradient)
        self.step += 1
        if options.average:
            self.kept.follow(split_state(self.method)[0], self.step, options.average)
        self._latest = lambda: _logged(loss, rate, terms, prediction)

    def write_log(self) -> None:
        """The values of the last step alone."""
        values = self._latest()
        self.log.write(self.step, values)
        self.bar(self.step, f"loss {values['loss']:.3f}")

    def check(self) -> None:
        """Check the weights that would predict, and write all checks so far."""
        if self.held_out is not None:
            self.kept.check(self.method, self.held_out, self.step)
            checks = [asdict(check) for check in self.kept.checks]
            write_json(self.run.folder / CHECKS, checks)

    def save(self) -> None:
        """See `TrainingRun`; one process writes for all."""
        if self.context.is_first:
            save_checkpoint(self.run.folder, self.method, self.optimiser, self.step, self.kept)


def _pace(options: TrainOptions) -> Pace:
    return Pace(options.log_every, options.checkpoint_every, options.validation.every)


def _logged(
    loss: Tensor, rate: float, terms: dict[str, Tensor], found: Prediction
) -> dict[str, float]:
    """The values of a step in the log."""
    values = {"loss": loss.item(), "learning_rate": rate}
    values |= {f"loss.{name}": term.item() for name, term in terms.items()}
    return values | {name: value.item() for name, value in found.diagnostics.items()}


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
