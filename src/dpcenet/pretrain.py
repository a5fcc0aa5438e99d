"""Training of the in-context network on made-up pairs: from a config and a seed, resumable.

The learning rate warms up, stays, and decays at the end (warm-up, stable, decay). The state
before the decay is kept beside the checkpoint, so that a longer training can go on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.checkpoint import load_tensors, save_tensors
from dpcenet.errors import RunError
from dpcenet.files import write_text
from dpcenet.methods.incontext import InContext, Options
from dpcenet.nn.matching import correspondence_loss
from dpcenet.synthetic import PairGenerator, PairOptions, Pairs

CHECKPOINT = "checkpoint.safetensors"
STABLE = "stable.safetensors"
WEIGHTS = "weights.safetensors"
LOG = "log.jsonl"
_FORMAT = "1"


@dataclass(frozen=True)
class PretrainConfig:
    """What determines the weights, on one kind of machine.

    Attributes:
        seed: seed of the initial weights and of the stream of batches.
        steps: steps in all, decay included.
        decay: share of the steps over which the learning rate falls to 0.
        warmup: steps over which it rises.
        batch: pairs per step.
        learning_rate: highest learning rate.
        weight_decay: AdamW's.
        average: decay of the running mean of the weights, which is what is evaluated and kept.
        clip: largest norm of a gradient.
        correspondence: weight of the loss that teaches places to find their like.
        bfloat16: whether the network runs in bfloat16.
        validation_batches: synthetic batches of another seed that give the validation Dice.
        pairs: what the training pairs are like.
        network: the network's size.
    """

    seed: int = 0
    steps: int = 10_000
    decay: float = 0.2
    warmup: int = 200
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    average: float = 0.998
    clip: float = 1.0
    correspondence: float = 0.3
    bfloat16: bool = True
    validation_batches: int = 8
    pairs: PairOptions = field(default_factory=PairOptions)
    network: Options = field(default_factory=Options)


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
    device: str = "cpu"


def pretrain(config: PretrainConfig, folder: Path, pace: Pace | None = None) -> int:
    """Train from the folder's checkpoint, or from the start where there is none.

    Writes `log.jsonl`, `checkpoint.safetensors` and `weights.safetensors` (the averaged weights
    in float16). Killed at any moment and called again, it gives the same losses.

    Returns:
        steps done in all.

    Raises:
        RunError: the checkpoint is damaged, or of another network.
    """
    pace = pace or Pace()
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, pace, folder)
    run.resume()
    started, losses = time.monotonic(), list[float]()
    while run.step < config.steps:
        losses.append(run.advance())
        over = pace.minutes is not None and time.monotonic() - started > 60 * pace.minutes
        if run.step % pace.log_every == 0:
            run.log(loss=sum(losses) / len(losses), seconds=time.monotonic() - started)
            losses.clear()
        if over or run.step % pace.save_every == 0 or run.step == config.steps:
            run.log(dice=run.validate(), seconds=time.monotonic() - started)
            run.save()
        if over:
            break
    return run.step


def learning_rate_at(step: int, config: PretrainConfig) -> float:
    """Learning rate of step 0, 1, …: linear warm-up, stable, linear decay to 0."""
    decay_steps = max(1.0, config.decay * config.steps)
    rise = (step + 1) / max(1, config.warmup)
    fall = (config.steps - step) / decay_steps
    return config.learning_rate * min(1.0, rise, fall)


def pair_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice loss of each pair, averaged.

    Args:
        logits: (B, H, W), of the foreground.
        masks: (B, H, W) in {0, 1}. An empty one is rewarded for an empty prediction.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, masks)
    probs = logits.sigmoid()
    both = (probs * masks).sum((1, 2))
    dice = (2 * both + 1) / (probs.sum((1, 2)) + masks.sum((1, 2)) + 1)
    return entropy + (1 - dice).mean()


def hard_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice of the thresholded predictions (B,); 1 where both are empty."""
    found = (logits > 0).float()
    total = found.sum((1, 2)) + masks.sum((1, 2))
    return torch.where(total > 0, 2 * (found * masks).sum((1, 2)) / total.clamp_min(1), 1.0)


class _Run:
    """A training in progress: everything that a checkpoint holds, and how to move it on."""

    def __init__(self, config: PretrainConfig, pace: Pace, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.device = torch.device(pace.device)
        torch.manual_seed(config.seed)
        self.network = InContext(config.network).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = InContext(config.network).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self._groups(), config.learning_rate, (0.9, 0.99))
        self.generator = PairGenerator(config.seed, config.batch, config.pairs, self.device)
        self.step = 0

    def _groups(self) -> list[dict[str, object]]:
        """Weights of layers decay; biases and norms do not."""
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        return [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def advance(self) -> float:
        """One step; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(self.step, self.config)
        self.network.train()
        loss = self._loss(self.generator(self.step))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return loss.item()

    def _loss(self, pairs: Pairs) -> Tensor:
        compared, attention = self._compare(self.network, pairs)
        matched = correspondence_loss(attention, pairs.support_labels, pairs.query_labels)
        loss = self.config.correspondence * matched
        for number, (logits, presence) in enumerate(compared):
            masks = pairs.query_masks[:, number]
            there = F.binary_cross_entropy_with_logits(presence, masks.flatten(1).amax(1))
            one = pair_loss(logits, masks) + self.config.network.presence_weight * there
            loss = loss + one / len(compared)
        return loss

    def _compare(
        self, network: InContext, pairs: Pairs
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Logits and presence of each target, and the attention that all targets share."""
        count = len(pairs.targets)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            features = network.encode(torch.cat([pairs.support_images, pairs.query_images]))
            support = features.rows(slice(None, count)).apply(lambda x: x[:, None])
            query = features.rows(slice(count, None))
            attention = network.align(support["key"], query["key"])
            masks = pairs.support_masks[:, None].unbind(2)
            return [network.compare(support, m, query, attention) for m in masks], attention

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the averaged weights; early on they follow quickly."""
        keep = min(self.config.average, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        for mean, new in pairs:
            mean.lerp_(new, 1 - keep)

    @torch.no_grad()
    def validate(self) -> float:
        """Mean Dice of the averaged weights on pairs of another seed."""
        others = PairGenerator(
            self.config.seed + 1, self.config.batch, self.config.pairs, self.device
        )
        self.average.eval()
        scores = []
        for number in range(self.config.validation_batches):
            pairs = others(number)
            compared, _ = self._compare(self.average, pairs)
            logits = torch.stack([logits for logits, _ in compared], 1)
            scores.append(hard_dice(logits.flatten(0, 1), pairs.query_masks.flatten(0, 1)))
        return float(torch.cat(scores).mean())

    def save(self) -> None:
        """The whole state, whole or not at all; before the decay also as the state to extend."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
        facts = {"step": self.step, "config": asdict(self.config)}
        metadata = {"format": _FORMAT, "facts": json.dumps(facts)}
        save_tensors(self.folder / CHECKPOINT, tensors, metadata)
        if self.step <= self.config.steps * (1 - self.config.decay):
            save_tensors(self.folder / STABLE, tensors, metadata)
        weights = {k: v.half() for k, v in self.average.state_dict().items()}
        save_tensors(self.folder / WEIGHTS, weights, metadata)

    def resume(self) -> None:
        """Goes on from the folder's checkpoint, if there is one, and drops later log lines."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        tensors, metadata = load_tensors(path)
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
        self.step = int(json.loads(metadata["facts"])["step"])
        kept = [line for line in self._lines() if json.loads(line)["step"] <= self.step]
        write_text(self.folder / LOG, "".join(kept))

    def log(self, **numbers: float) -> None:
        """Appends a line to the log."""
        rate = learning_rate_at(self.step, self.config)
        line = {"step": self.step, "learning_rate": rate} | numbers
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")

    def _lines(self) -> Iterator[str]:
        path = self.folder / LOG
        if path.exists():
            # A killed process may leave half a line at the end.
            text = path.read_text(encoding="utf-8")
            yield from (line for line in text.splitlines(keepends=True) if line.endswith("}\n"))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
