"""Pairs from labelled scans: a slice with what a person drew, and a near slice of the same scan.

Each is seen through a view of its own, as two patients would lie, and in a contrast of its own. The
near slice may lack a label, so that an empty answer is learnt too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.pairs import PairOptions, Pairs, areas_of
from dpcenet.errors import ConfigError
from dpcenet.training.supervoxel_pairs import GAP_MM, both_seen


@dataclass(frozen=True)
class DrawnScan:
    """A prepared scan with its labels.

    Attributes:
        name: of the scan.
        image: (Z, H, W) float32.
        label: (Z, H, W) uint8, numbered 1, 2, … without gaps; 0 is none of them.
        spacing: along z, y, x in mm.
    """

    name: str
    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]


class LabelledPairs:
    """Endless batches of pairs; batch n is a pure function of (seed, n).

    Args:
        scans: labelled scans.
        seed: seed of the stream.
        batch: pairs per batch.
        options: pixels per side, and targets of a pair.

    Raises:
        ConfigError: no scan shows a label.
    """

    def __init__(
        self, scans: Sequence[DrawnScan], seed: int, batch: int, options: PairOptions
    ) -> None:
        self.seed, self.batch, self.options = seed, batch, options
        shown = [(scan, np.flatnonzero(scan.label.any((1, 2)))) for scan in scans]
        self._scans = [(scan, slices) for scan, slices in shown if len(slices)]
        self._count = max((int(scan.label.max()) for scan in scans), default=0)
        if not self._scans:
            raise ConfigError("no scan to learn from: none shows a label")

    @torch.no_grad()
    def __call__(self, number: int) -> Pairs:
        """Batch `number` of the stream."""
        draws = Draws(self.seed, number, torch.device("cpu"))
        images, labels = self._slices(np.random.default_rng([self.seed, number]))
        (support, drawn), (query, asked) = both_seen(draws, images, labels, self.options.size)
        targets = self._targets(draws, drawn)
        masks = [(each[:, None] == targets[..., None, None]).float() for each in (drawn, asked)]
        return Pairs(support, masks[0], query, masks[1], drawn, asked, targets)

    def _slices(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images and labels (B, 2, H, W) of slices that show a label, and of near ones."""
        images, labels = [], []
        for index in random.integers(len(self._scans), size=self.batch):
            scan, shown = self._scans[index]
            reach = max(1, int(GAP_MM / scan.spacing[0]))
            first = int(random.choice(shown))
            last = len(scan.label) - 1
            second = int(random.integers(max(0, first - reach), min(last, first + reach) + 1))
            images.append(scan.image[[first, second]])
            labels.append(scan.label[[first, second]])
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

    def _targets(self, draws: Draws, drawn: Tensor) -> Tensor:
        """Labels (B, T) that the first slices show; one of them again where there are too few."""
        smallest = self.options.smallest * (self.options.size / 128) ** 2
        areas = areas_of(drawn, max(self._count, self.options.targets) + 1)
        weight = (areas >= smallest) + 1e-6 * (areas > 0)
        weight[:, 0] = 1e-12  # none of them, where the view shows nothing else
        picked = draws.pick(weight, self.options.targets)
        return torch.where(weight.gather(1, picked) >= 1e-6, picked, picked[:, :1])
