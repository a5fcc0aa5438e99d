"""Pairs from unlabelled scans: two near slices of one scan, their supervoxels in place of labels.

Both slices are seen through a view of their own, as two patients would lie, and in a contrast of
their own. What is asked for is a supervoxel, or a supervoxel with those around it that look alike,
which is nearer to an organ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.data.store import PreparedCase
from dpcenet.data.synthetic.deform import patient_coordinates, smooth_field, view
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.pairs import PairOptions, Pairs, areas_of
from dpcenet.data.synthetic.render import normalised
from dpcenet.errors import DatasetError

GAP_MM = 12.0  # farthest apart that the two slices lie


class ScanPairs:
    """Endless batches of pairs; batch n is a pure function of (seed, n).

    Args:
        cases: prepared scans; labels are not looked at.
        seed: seed of the stream.
        batch: pairs per batch.
        options: pixels per side, targets of a pair and their smallest size.

    Raises:
        DatasetError: there is no scan with supervoxels.
    """

    def __init__(
        self, cases: Sequence[PreparedCase], seed: int, batch: int, options: PairOptions
    ) -> None:
        self.seed, self.batch, self.options = seed, batch, options
        shown = [(case, _shown(case)) for case in cases]
        self._scans = [(case, slices) for case, slices in shown if len(slices)]
        if not self._scans:
            raise DatasetError("no scan to learn from: none has supervoxels; prepare them again")

    @torch.no_grad()
    def __call__(self, number: int) -> Pairs:
        """Batch `number` of the stream."""
        draws = Draws(self.seed, number, torch.device("cpu"))
        images, segments = self._slices(np.random.default_rng([self.seed, number]))
        (support, shown), (query, asked) = both_seen(draws, images, segments, self.options.size)
        targets = self._targets(draws, shown, asked)
        members = _grown(draws, support[:, 0], shown, targets)
        masks = [_united(members, labels) for labels in (shown, asked)]
        return Pairs(support, masks[0], query, masks[1], shown, asked, targets)

    def _slices(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images and supervoxels (B, 2, H, W) of pairs of near slices."""
        images, segments = [], []
        for index in random.integers(len(self._scans), size=self.batch):
            case, shown = self._scans[index]
            reach = max(1, int(GAP_MM / case.spacing[0]))
            first = int(random.choice(shown))
            second = int(random.choice(shown[abs(shown - first) <= reach]))
            pair = [first, second]
            images.append(np.asarray(case.image[pair], np.float32))
            segments.append(_compact(np.asarray(case.supervoxels[pair])))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(segments))

    def _targets(self, draws: Draws, shown: Tensor, asked: Tensor) -> Tensor:
        """Segments (B, T) that both slices show; air where there are too few."""
        smallest = self.options.smallest * (self.options.size / 128) ** 2
        count = max(int(shown.max()), int(asked.max()), self.options.targets) + 1
        weight = (areas_of(shown, count) >= smallest) & (areas_of(asked, count) >= smallest / 2)
        weight[:, 0] = False
        return draws.pick(weight.float(), self.options.targets)


def _shown(case: PreparedCase) -> npt.NDArray[np.int64]:
    """The slices on which the body fills a hundredth of the picture or more."""
    return np.flatnonzero((case.supervoxels > 0).mean((1, 2)) >= 0.01)


def _compact(segments: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The same segments, numbered from 0 (outside the body) without gaps."""
    numbers = np.unique(np.append(segments, 0), return_inverse=True)[1]
    return numbers[:-1].reshape(segments.shape)


def _grown(draws: Draws, image: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Which segments make up each target, (B, T, K) bool: itself, or those too that touch it and
    look like it.

    Args:
        draws: source of the choices.
        image: (B, h, w).
        labels: (B, h, w).
        targets: (B, T).
    """
    count = max(int(labels.max()), int(targets.max())) + 1
    flat = labels.flatten(1)
    area = areas_of(labels, count)
    mean = torch.zeros_like(area).scatter_add(1, flat, image.flatten(1)) / area.clamp_min(1)
    own = (labels[:, None] == targets[..., None, None]).float()
    around = F.max_pool2d(own, 5, 1, 2).flatten(2)
    index = flat[:, None].expand(around.shape)
    touch = torch.zeros(*targets.shape, count).scatter_add(2, index, around) > 0
    unlike = (mean[:, None] - mean.gather(1, targets)[..., None]).abs()
    grows = draws.chance(*targets.shape, 1, p=0.5)
    alike = unlike < draws.log_uniform(*targets.shape, 1, low=0.1, high=0.6)
    inside = torch.arange(count) > 0
    itself = F.one_hot(targets, count) > 0
    return itself | (grows & touch & alike & inside)


def _united(members: Tensor, labels: Tensor) -> Tensor:
    """Masks (B, T, h, w) float of the segments `members` (B, T, K); later ones belong to none."""
    flat = labels.flatten(1)
    known = flat < members.shape[2]
    index = flat.clamp_max(members.shape[2] - 1)[:, None].expand(-1, members.shape[1], -1)
    masks = members.gather(2, index) & known[:, None]
    return masks.view(*members.shape[:2], *labels.shape[1:]).float()


def both_seen(
    draws: Draws, images: Tensor, segments: Tensor, size: int
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of slices (B, 2, H, W), each slice as a patient and a scanner of its own show it; what
    each gives is as `_seen` returns it."""
    variation = draws.log_uniform(len(images), low=0.3, high=1.4)
    shown = view(draws, len(images))
    return [
        _seen(draws, images[:, side], segments[:, side], shown, variation, size) for side in (0, 1)
    ]


def _seen(
    draws: Draws,
    images: Tensor,
    segments: Tensor,
    shown: tuple[Tensor, Tensor],
    variation: Tensor,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Slices and their segments (B, H, W) as another patient and another scanner show them.

    Args:
        draws: source of the patient and the contrast.
        images, segments: the slices, and whole numbers on them.
        shown: the view, a matrix and a shift; see `deform.view`.
        variation: (B,), how much patients differ.
        size: pixels per side of what is returned.

    Returns:
        images (B, 1, size, size), z-scored, and segments (B, size, size) int64; 0 where the view
        goes beyond the slice.
    """
    places = patient_coordinates(draws, *shown, variation, size)
    moved = F.grid_sample(images[:, None], places, padding_mode="border", align_corners=False)
    labels = F.grid_sample(segments[:, None].float(), places, mode="nearest", align_corners=False)
    return normalised(draws, _recoloured(draws, moved[:, 0])), labels[:, 0].long()


def _recoloured(draws: Draws, image: Tensor) -> Tensor:
    """Images (B, h, w) with another gamma, bias field and noise."""
    batch, size = image.shape[:2]
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    share = (image - low) / (high - low).clamp_min(1e-6)
    share = share ** draws.log_uniform(batch, 1, 1, low=0.65, high=1.6)
    bias = smooth_field(draws, batch, 1, 5, size)[:, 0] * draws.uniform(batch, 1, 1, high=0.2)
    noise = draws.log_uniform(batch, 1, 1, low=0.002, high=0.03)
    return share * bias.exp() + noise * draws.normal(batch, size, size)
