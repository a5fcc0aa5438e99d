"""Which weights of a training are kept to predict: the last, averaged ones, or the best checked.

The last weights of a training jump from episode to episode; their running mean does not. A check on
held-out supervoxel episodes, which looks at no label, chooses the step and the cut of the
probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dpcenet.inference.encoded import extract
from dpcenet.methods.base import Method
from dpcenet.nn.tensor_files import State
from dpcenet.system.device import Precision
from dpcenet.training.episodes import EpisodeSampler
from dpcenet.types import Episode, Features


@dataclass(frozen=True)
class ValidationOptions:
    """The check on held-out episodes.

    Attributes:
        every: steps between two checks; 0 leaves them out.
        cases: training cases that are held out for it.
        episodes: how many of them are drawn.
        cuts: of the foreground's probability that are tried.
    """

    every: int = 0
    cases: int = 2
    episodes: int = 48
    cuts: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        step: after which it was made.
        dice: 0…1, mean over the episodes, at a probability above 0.5.
        cut: with which the mean would be best.
        dice_at_cut: that mean.
    """

    step: int
    dice: float
    cut: float
    dice_at_cut: float


@dataclass
class KeptWeights:
    """The state that predicts.

    Attributes:
        average: running mean of the weights; empty if they are not averaged.
        best: weights of the best check; empty before the first.
        checks: all of them, in order.
    """

    average: State = field(default_factory=dict)
    best: State = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def chosen(self) -> Check | None:
        """The check whose weights are kept."""
        return max(self.checks, key=lambda check: check.dice, default=None)

    @property
    def to_predict(self) -> State:
        """Weights by which those of the last step are replaced; may be none."""
        return self.best or self.average

    @torch.no_grad()
    def follow(self, state: State, step: int, average: float) -> None:
        """Move the running mean after `step` steps."""
        moving = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        if not self.average:
            self.average = {name: tensor.clone() for name, tensor in moving.items()}
        means = [self.average[name] for name in moving]  # a file keeps names, and not their order
        move_average(means, list(moving.values()), step, average)

    def check(self, method: Method, held_out: HeldOut, step: int) -> Check:
        """Check the weights that would predict; they are kept if they are the best so far."""
        with weights_in_place(method, self.average):
            found = held_out.check(method, step)
            self.checks.append(found)
            if self.chosen is found:
                frozen = method.frozen_names()
                state = method.state_dict()
                self.best = {n: t.clone() for n, t in state.items() if n not in frozen}
        return found


def move_average(means: list[Tensor], new: list[Tensor], step: int, average: float) -> None:
    """Move running means, in place; early on they follow quickly."""
    keep = min(average, (1 + step) / (10 + step))
    torch._foreach_lerp_(means, new, 1 - keep)


@contextmanager
def weights_in_place(method: Method, state: State) -> Iterator[None]:
    """Within it the method predicts with other weights; after it, it trains with its own."""
    own = {name: tensor.clone() for name, tensor in method.state_dict().items() if name in state}
    method.load_state_dict(state, strict=False)
    method.eval()
    try:
        yield
    finally:
        method.load_state_dict(own, strict=False)
        method.train()


class HeldOut:
    """Supervoxel episodes of cases that are not trained on, the same ones at every check.

    Args:
        sampler: draws from the held-out cases.
        options: how many episodes, and which cuts.
        precision: of the trunk.
        device: where it computes.
    """

    def __init__(
        self,
        sampler: EpisodeSampler,
        options: ValidationOptions,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.options, self.precision = options, precision
        self.episodes = [sampler[n].to(device) for n in range(options.episodes)]
        self._features: list[Features] = []

    @torch.no_grad()
    def check(self, method: Method, step: int) -> Check:
        """Mean Dice of a method in evaluation mode."""
        pairs = zip(self.episodes, self._of(method), strict=True)
        scores = torch.stack([self._dice(method, *pair) for pair in pairs]).mean(dim=0)
        *at_cuts, plain = scores.tolist()
        best = max(range(len(at_cuts)), key=at_cuts.__getitem__)
        return Check(step, plain, self.options.cuts[best], at_cuts[best])

    def _of(self, method: Method) -> Sequence[Features]:
        """Trunk features of the episodes; those of a frozen trunk are computed once."""
        if self._features:
            return self._features
        found = [
            extract(method, torch.cat([e.support_images, e.query_images]), self.precision)
            for e in self.episodes
        ]
        if method.trunk_frozen:
            self._features = found
        return found

    def _dice(self, method: Method, episode: Episode, features: Features) -> Tensor:
        """Dice at each cut, and at 0.5."""
        assert episode.query_masks is not None
        probability = method(episode, features).log_probs[:, 1].exp()
        cuts = probability.new_tensor([*self.options.cuts, 0.5])[:, None, None, None]
        masks, truth = probability > cuts, episode.query_masks > 0
        both = (masks & truth).flatten(1).sum(dim=1)
        dice: Tensor = 2 * both / (masks.flatten(1).sum(dim=1) + truth.sum()).clamp_min(1)
        return dice
