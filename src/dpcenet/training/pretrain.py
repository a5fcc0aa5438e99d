"""Training of the in-context network on made-up images: from a config and a seed, resumable.

The learning rate warms up, stays, and decays at the end (warm-up, stable, decay). The state
before the decay is kept beside the checkpoint, so that a longer training can go on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpcenet.data.synthetic.episodes import EpisodeGenerator, Episodes
from dpcenet.data.synthetic.pairs import PairGenerator, Pairs
from dpcenet.data.synthetic.preview import save_contact_sheet
from dpcenet.errors import RunError
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.incontext.model import InContext
from dpcenet.system.device import choose_device
from dpcenet.system.environment import machine, versions
from dpcenet.system.files import write_text
from dpcenet.training.checkpoint import facts_of, load_tensors, save_tensors
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig, learning_rate_at
from dpcenet.training.log import keep_log, read_log
from dpcenet.training.model_card import card_of

CHECKPOINT = "checkpoint.safetensors"
STABLE = "stable.safetensors"
WEIGHTS = "weights.safetensors"
LOG = "log.jsonl"
CARD = "card.md"
SHEET = "pairs.png"
_FORMAT = "1"


@dataclass(frozen=True)
class Pace:
    """When to write and when to stop; nothing here changes the weights.

    Attributes:
        log_every: steps between lines of the log.
        save_every: steps between checkpoints, each with a validation.
        minutes: stop with a checkpoint after that long; None goes on to the last step.
        device: where to train.
    """

    log_every: int = 20
    save_every: int = 250
    minutes: float | None = None
    device: str = "auto"


def pretrain(config: PretrainConfig, folder: Path, pace: Pace | None = None) -> int:
    """Train from the folder's checkpoint, or from the start where there is none.

    Writes `log.jsonl`, `checkpoint.safetensors`, `weights.safetensors` (the averaged weights in
    float16), their model card `card.md`, and `pairs.png`, the first pairs to look at. Killed at any
    moment and called again, it gives the same losses.

    Returns:
        steps done in all.

    Raises:
        RunError: the checkpoint is damaged, or of another config.
    """
    pace = pace or Pace()
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, pace, folder)
    run.resume()
    if not (folder / SHEET).exists():
        save_contact_sheet(run.generator(0), folder / SHEET)
    started, losses = time.monotonic(), list[Tensor]()
    while run.step < config.steps:
        losses.append(run.advance(run.generator(run.step)))
        over = pace.minutes is not None and time.monotonic() - started > 60 * pace.minutes
        if run.step % pace.log_every == 0:
            run.log(loss=float(torch.stack(losses).mean()), seconds=time.monotonic() - started)
            losses.clear()
        if over or run.step % pace.save_every == 0 or run.step == config.steps:
            run.log(dice=run.validate(run.others()), seconds=time.monotonic() - started)
            run.save()
        if over:
            break
    return run.step


class _Run(PairTraining):
    """A training on made-up images that a checkpoint holds wholly."""

    def __init__(self, config: PretrainConfig, pace: Pace, folder: Path) -> None:
        torch.manual_seed(config.seed)
        super().__init__(_initial(config), config, choose_device(pace.device))
        self.folder = folder
        self.generator = _generator(config, config.seed, self.device)
        self._others: list[Episodes | Pairs] = []

    def others(self) -> list[Episodes | Pairs]:
        """Batches of another seed, for validation; made once."""
        if not self._others:
            generator = _generator(self.config, self.config.seed + 1, self.device)
            stay = self.config.episodes.stay
            self._others = [generator(n * stay) for n in range(self.config.validation_batches)]
        return self._others

    def save(self) -> None:
        """The weights and their card, then the whole state, whole or not at all; before the decay
        also as the state to extend."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
        made = {"versions": versions(), "machine": machine(), "threads": torch.get_num_threads()}
        facts = {"step": self.step, "config": asdict(self.config), **made}
        metadata = {"format": _FORMAT, "facts": json.dumps(facts)}
        weights = {k: v.half() for k, v in self.average.state_dict().items()}
        save_tensors(self.folder / WEIGHTS, weights, metadata)
        write_text(self.folder / CARD, card_of(self.folder / WEIGHTS, read_log(self.folder / LOG)))
        if self.step <= self.config.steps * (1 - self.config.decay):
            save_tensors(self.folder / STABLE, tensors, metadata)
        save_tensors(self.folder / CHECKPOINT, tensors, metadata)

    def resume(self) -> None:
        """Goes on from the folder's checkpoint, if there is one, and drops later log lines."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        tensors, metadata = load_tensors(path)
        facts = facts_of(path, metadata, {"step": int, "config": dict})
        if other := _changes(facts["config"], asdict(self.config)):
            raise RunError(
                f"{path}: was trained with another {', '.join(other)}; take another folder, and "
                f"start={self.folder / WEIGHTS} to go on from these weights"
            )
        try:
            self.network.load_state_dict(_under("network.", tensors))
            self.average.load_state_dict(_under("average.", tensors))
        except RuntimeError as error:
            raise RunError(f"{path}: is of another network: {error}") from error
        state = self.optimiser.state_dict()
        for name, value in _under("optimiser.", tensors).items():
            index, key = name.split(".")
            state["state"].setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(state)
        for parameter, moments in self.optimiser.state.items():
            for key, value in moments.items():
                if value.shape == parameter.shape:
                    # The fused optimiser walks memory: moments must lie in it as the weights do.
                    moments[key] = torch.empty_like(parameter).copy_(value)
        self.step = int(facts["step"])
        keep_log(self.folder / LOG, self.step)

    def log(self, **numbers: float) -> None:
        """Appends a line to the log."""
        rate = learning_rate_at(self.step, self.config)
        line = {"step": self.step, "learning_rate": rate} | numbers
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")


def _initial(config: PretrainConfig) -> InContext:
    """The network before the first step."""
    if not config.start:
        return InContext(config.network)
    size, widths = config.network.size, config.network.widths
    return shipped.build(shipped.Options(config.start, size, widths))


def _generator(
    config: PretrainConfig, seed: int, device: torch.device
) -> Callable[[int], Episodes | Pairs]:
    """What makes the batches."""
    pairs = PairGenerator(seed, config.batch, config.pairs, device)
    episodes = EpisodeGenerator(seed, config.batch, config.cohorts, config.episodes, device)
    if config.source == "both":
        return lambda number: pairs(number) if number % 3 == 2 else episodes(number)
    return pairs if config.source == "pairs" else episodes


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys in which configs differ, but for the length: a training may be made longer.

    What a config of an earlier version does not name was as it is by default.
    """
    usual, now = (json.loads(json.dumps(c)) for c in (asdict(PretrainConfig()), now))
    return [k for k in now if k not in ("steps", "decay") and (usual | before)[k] != now[k]]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
