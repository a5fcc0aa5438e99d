"""Random numbers of one batch: a pure function of seed, batch number and kind of device."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


class Draws:
    """A seeded source of tensors on one device.

    Args:
        seed: seed of the stream of batches.
        batch: number of the batch in that stream.
        device: where the tensors are drawn and live.
    """

    def __init__(self, seed: int, batch: int, device: torch.device) -> None:
        state = np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)[0]
        self.device = device
        self._generator = torch.Generator(device).manual_seed(int(state >> 1))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform draws in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self._generator, device=self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Draws in [low, high) whose logarithm is uniform."""
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int, std: float = 1.0) -> Tensor:
        """Normal draws of mean 0."""
        return std * torch.randn(shape, generator=self._generator, device=self.device)

    def chance(self, *shape: int, p: float) -> Tensor:
        """Booleans, true with probability `p`."""
        return torch.rand(shape, generator=self._generator, device=self.device) < p

    def integers(self, *shape: int, high: int) -> Tensor:
        """Integers in [0, high), int64."""
        return torch.randint(high, shape, generator=self._generator, device=self.device)

    def pick(self, weights: Tensor, count: int) -> Tensor:
        """Different columns of each row of `weights` (B, L), in proportion; (B, count) int64.

        Columns of no weight are picked where no others are left.
        """
        chances = weights.clamp_min(1e-30)
        return torch.multinomial(chances, count, generator=self._generator)
