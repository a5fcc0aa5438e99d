"""Training of the in-context network on made-up images: from a config and a seed, resumable.

The learning rate warms up, stays, and decays at the end (warm-up, stable, decay). The state
before the decay is kept beside the checkpoint, so that a longer training can go on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
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
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.system.device import choose_device
from dpcenet.system.environment import machine, versions
from dpcenet.system.files import write_text
from dpcenet.training.checkpoint import (
    CHECKPOINT,
    FORMAT,
    load_parts,
    optimiser_state,
    restore_optimiser,
    save_parts,
)
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig, learning_rate_at
from dpcenet.training.log import LOG, Log, read_log
from dpcenet.training.model_card import card_of
from dpcenet.training.training_run import Pace, TrainingRun

_PARTS = ("network", "average", "optimiser")  # of a checkpoint
STABLE = "stable.safetensors"
WEIGHTS = "weights.safetensors"
CARD = "card.md"
SHEET = "pairs.png"


def pretrain(
    config: PretrainConfig, folder: Path, pace: Pace | None = None, device: str = "auto"
) -> int:
    """Train from the folder's checkpoint, or from the start where there is none.

    Writes `log.jsonl`, `checkpoint.safetensors`, `weights.safetensors` (the averaged weights in
    float16), their model card `card.md`, and `pairs.png`, the first pairs to look at. Killed at any
    moment and called again, it gives the same losses.

    Args:
        config: what determines the weights.
        folder: of the training.
        pace: when to write and when to stop; the weights are checked whenever they are saved.
        device: "auto", "cpu", "cuda", …

    Returns:
        steps done in all.

    Raises:
        RunError: the checkpoint is damaged, or of another config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Pretraining(config, folder, device)
    if not (folder / SHEET).exists():
        save_contact_sheet(run.generator(0), folder / SHEET)
    pace = pace or Pace()
    run.go(replace(pace, check_every=pace.save_every))
    return run.step


class _Pretraining(PairTraining, TrainingRun[Episodes | Pairs]):
    """A training on made-up images, taken up from the folder's checkpoint."""

    def __init__(self, config: PretrainConfig, folder: Path, device: str) -> None:
        torch.manual_seed(config.seed)
        super().__init__(_initial(config), config, choose_device(device))
        self.folder, self.steps = folder, config.steps
        self.generator = _generator(config, config.seed, self.device)
        self._others: list[Episodes | Pairs] = []
        self._losses: list[Tensor] = []
        self._resume()
        self.log = Log(folder, self.step)

    def batches(self) -> Iterator[Episodes | Pairs]:
        """See `TrainingRun`."""
        return map(self.generator, range(self.step, self.steps))

    def learn(self, batch: Episodes | Pairs) -> None:
        """See `TrainingRun`."""
        self._losses.append(self.advance(batch))

    def write_log(self) -> None:
        """The mean loss since the last line."""
        self._write(loss=float(torch.stack(self._losses).mean()))
        self._losses.clear()

    def check(self) -> None:
        """The Dice on batches of another seed."""
        self._write(dice=self.validate(self.others()))

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
        made = {"versions": versions(), "machine": machine(), "threads": torch.get_num_threads()}
        facts = {"step": self.step, "config": asdict(self.config), **made}
        weights = {k: v.half() for k, v in self.average.state_dict().items()}
        metadata = {"format": FORMAT, "facts": json.dumps(facts)}
        save_tensors(self.folder / WEIGHTS, weights, metadata)
        write_text(self.folder / CARD, card_of(self.folder / WEIGHTS, read_log(self.folder / LOG)))
        optimiser = optimiser_state(self.optimiser)
        networks = (self.network.state_dict(), self.average.state_dict())
        parts = dict(zip(_PARTS, (*networks, optimiser), strict=True))
        if self.step <= self.config.steps * (1 - self.config.decay):
            save_parts(self.folder / STABLE, parts, facts)
        save_parts(self.folder / CHECKPOINT, parts, facts)

    def _resume(self) -> None:
        """Go on from the folder's checkpoint, if there is one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        parts, facts = load_parts(path, _PARTS, {"step": int, "config": dict})
        if other := _changes(facts["config"], asdict(self.config)):
            raise RunError(
                f"{path}: was trained with another {', '.join(other)}; take another folder, and "
                f"start={self.folder / WEIGHTS} to go on from these weights"
            )
        try:
            self.network.load_state_dict(parts["network"])
            self.average.load_state_dict(parts["average"])
        except RuntimeError as error:
            raise RunError(f"{path}: is of another network: {error}") from error
        restore_optimiser(self.optimiser, parts["optimiser"])
        self.step = int(facts["step"])

    def _write(self, **numbers: float) -> None:
        values = {"learning_rate": learning_rate_at(self.step, self.config)} | numbers
        self.log.write(self.step, {name: round(value, 6) for name, value in values.items()})


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
