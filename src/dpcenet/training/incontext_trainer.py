"""Training of an in-context network on batches of episodes or pairs, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.data.synthetic.cohort import CohortOptions
from dpcenet.data.synthetic.episodes import CohortEpisodeOptions, Episodes
from dpcenet.data.synthetic.pairs import PairOptions, Pairs
from dpcenet.methods.incontext.model import InContext, NetworkOptions, correspondence_loss
from dpcenet.training.kept_weights import move_average


@dataclass(frozen=True)
class PretrainConfig:
    """What determines the weights, on one kind of machine.

    Attributes:
        start: "" for random weights, "shipped" for those of the package, or a file of weights.
        seed: seed of the initial weights and of the stream of batches.
        steps: steps in all, decay included.
        decay: share of the steps over which the learning rate falls to 0.
        warmup: steps over which it rises.
        source: "pairs" of slices, "cohorts" of volumes, from which episodes are drawn, or "both":
            every third batch is of pairs.
        batch: pairs or episodes per step.
        learning_rate: highest learning rate.
        weight_decay: AdamW's.
        average: decay of the running mean of the weights, which is what is evaluated and kept.
        clip: largest norm of a gradient.
        correspondence: weight of the loss that teaches places to find their like.
        bfloat16: whether the network runs in bfloat16.
        validation_batches: synthetic batches of another seed that give the validation Dice.
        pairs: what the training pairs are like.
        cohorts, episodes: what the cohorts, and the episodes drawn from them, are like.
        network: the network's size.
    """

    start: str = ""
    seed: int = 0
    steps: int = 10_000
    decay: float = 0.2
    warmup: int = 200
    source: Literal["pairs", "cohorts", "both"] = "pairs"
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    average: float = 0.998
    clip: float = 1.0
    correspondence: float = 0.3
    bfloat16: bool = True
    validation_batches: int = 8
    pairs: PairOptions = field(default_factory=PairOptions)
    cohorts: CohortOptions = field(default_factory=CohortOptions)
    episodes: CohortEpisodeOptions = field(default_factory=CohortEpisodeOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)


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


class PairTraining:
    """A network in training, and the running mean of its weights, which is what is kept.

    Args:
        network: to train; it is trained in place.
        config: how.
        device: where.
    """

    def __init__(
        self, network: InContext, config: PretrainConfig, device: torch.device | str
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = InContext(network.options).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self._groups(), config.learning_rate, (0.9, 0.99), fused=True
        )
        self.step = 0

    def _groups(self) -> list[dict[str, object]]:
        """Weights of layers decay; biases and norms do not."""
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        return [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def advance(self, batch: Episodes | Pairs) -> Tensor:
        """One step; its loss, for which a GPU is not waited."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(self.step, self.config)
        self.network.train()
        loss = self._loss(batch if isinstance(batch, Episodes) else batch.episodes())
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return loss.detach()

    def _loss(self, episodes: Episodes) -> Tensor:
        (logits, presence), attention = self._compare(self.network, episodes)
        matched = correspondence_loss(attention, episodes.support_labels, episodes.query_labels)
        masks = episodes.query_masks.flatten(0, 1)
        there = F.binary_cross_entropy_with_logits(presence, masks.flatten(1).amax(1))
        loss = pair_loss(logits, masks) + self.config.network.presence_weight * there
        return loss + self.config.correspondence * matched

    def _compare(
        self, network: InContext, episodes: Episodes
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Logits (B·T, H, W) and presence (B·T,) of the targets, and the attention they share.

        All targets of all episodes are one batch: a third less time than one after the other.
        """
        count, shots = episodes.support_images.shape[:2]
        targets = episodes.support_masks.shape[1]
        images = torch.cat([episodes.support_images.flatten(0, 1)[:, None], episodes.query_images])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            features = network.encode(images)
            support = features.rows(slice(None, count * shots))
            support = support.apply(lambda x: x.view(count, shots, *x.shape[1:]))
            query = features.rows(slice(count * shots, None))
            attention = network.align(support["key"], query["key"])
            # Converted once, not for each target.
            carried = attention.bfloat16() if self.config.bfloat16 else attention
            support, query = (
                each.apply(lambda x: _for_each(x, targets)) for each in (support, query)
            )
            masks = episodes.support_masks.flatten(0, 1)
            compared = network.compare(support, masks, query, carried, targets)
            return compared, attention

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the averaged weights; early on they follow quickly."""
        means: list[Tensor] = list(self.average.parameters())
        new: list[Tensor] = list(self.network.parameters())
        move_average(means, new, self.step, self.config.average)

    @torch.no_grad()
    def validate(self, batches: Iterable[Episodes | Pairs]) -> float:
        """Mean Dice of the averaged weights on some batches."""
        self.average.eval()
        scores = []
        for batch in batches:
            episodes = batch if isinstance(batch, Episodes) else batch.episodes()
            (logits, _), _ = self._compare(self.average, episodes)
            scores.append(hard_dice(logits, episodes.query_masks.flatten(0, 1)))
        return float(torch.cat(scores).mean())


def _for_each(x: Tensor, targets: int) -> Tensor:
    """Rows (B, …), each repeated for its targets: (B·T, …)."""
    return x[:, None].expand(-1, targets, *x.shape[1:]).flatten(0, 1)
