"""A method in training on episodes: one optimiser step after the other.

Every random choice of the method comes from the episode's seed, which is set before each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpcenet.inference.encoded import autocast
from dpcenet.methods.base import Method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.system.files import write_json
from dpcenet.system.progress import Advance
from dpcenet.training.checkpoint import save_checkpoint, split_state
from dpcenet.training.config import TrainOptions
from dpcenet.training.distributed import DistributedContext
from dpcenet.training.kept_weights import HeldOut, KeptWeights
from dpcenet.training.log import Log
from dpcenet.training.run_folder import Run
from dpcenet.training.training_data import Step
from dpcenet.training.training_run import TrainingRun
from dpcenet.types import Episode, Prediction

CHECKS = "checks.json"


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
        if self.precision == "bfloat16" and self.method.trunk is not None:
            # As its maps lie: else the weights are laid out anew in each step.
            self.method.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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


def _logged(
    loss: Tensor, rate: float, terms: dict[str, Tensor], found: Prediction
) -> dict[str, float]:
    """The values of a step in the log."""
    values = {"loss": loss.item(), "learning_rate": rate}
    values |= {f"loss.{name}": term.item() for name, term in terms.items()}
    return values | {name: value.item() for name, value in found.diagnostics.items()}
