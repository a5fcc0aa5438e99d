"""Pairs of slices of two made-up patients with masks of one label: what a network trains on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpcenet.data.synthetic.deform import patient_coordinates, view
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.episodes import Episodes
from dpcenet.data.synthetic.labels import (
    FIRST_ORGAN,
    LABELS,
    Anatomy,
    cut,
    draw_anatomy,
    draw_patient,
)
from dpcenet.data.synthetic.organs import FREE
from dpcenet.data.synthetic.render import draw_contrast, field_of_view, normalised, render, vary


@dataclass(frozen=True)
class PairOptions:
    """What the pairs are like.

    Attributes:
        size: pixels per side.
        absent: share of targets that the query lacks, where it lacks any of the support's labels.
        changed: share of pairs whose query has another contrast than the support.
        missing: chance that a patient lacks an organ.
        ground: weight of layers and fillers as targets, relative to an organ.
        texture: factor of the texture within labels.
        artefacts: whether there are bias fields, ghosts, stripes, clipping and gamma.
        simple: whether organs are free ones only: no partners, cores or vessels.
        targets: labels asked of each pair, T.
        smallest: fewest pixels of a target in the support, at 128 pixels per side.
        pose, astray: see `deform.patient_coordinates`.
        chambers: see `organs.draw_organs`.
        whole: chance that a target with cores inside is asked for together with them.
    """

    size: int = 128
    absent: float = 0.12
    changed: float = 0.15
    missing: float = 0.06
    ground: float = 0.15
    smallest: int = 14
    pose: float = 1.6
    astray: float = 0.15
    chambers: float = 0.4
    whole: float = 0.15
    texture: float = 1.0
    artefacts: bool = True
    simple: bool = False
    targets: int = 3


@dataclass(frozen=True)
class Pairs:
    """B pairs.

    Attributes:
        support_images, query_images: (B, 1, H, W) float32, z-scored.
        support_masks, query_masks: (B, T, H, W) float32 in {0, 1}.
        support_labels, query_labels: (B, H, W) int64, all labels of the slices.
        targets: (B, T) int64, the labels of the masks, some of which hold the cores of their
            organ too.
    """

    support_images: Tensor
    support_masks: Tensor
    query_images: Tensor
    query_masks: Tensor
    support_labels: Tensor
    query_labels: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Pairs:
        """The same pairs on `device`."""
        return Pairs(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def episodes(self) -> Episodes:
        """The same as episodes of one support and one query slice."""
        return Episodes(
            self.support_images,
            self.query_images,
            self.support_masks[:, :, None],
            self.query_masks,
            self.support_labels[:, None],
            self.query_labels,
        )


class PairGenerator:
    """Endless batches of pairs; batch n is a pure function of (seed, n) on a device type.

    Args:
        seed: seed of the stream.
        batch: pairs per batch.
        options: what the pairs are like.
        device: where they are made.
    """

    def __init__(
        self,
        seed: int,
        batch: int,
        options: PairOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.seed = seed
        self.batch = batch
        self.options = options or PairOptions()
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, number: int) -> Pairs:
        """Batch `number` of the stream."""
        draws, count = Draws(self.seed, number, self.device), self.batch
        anatomy = self._anatomy(draws)
        contrast = draw_contrast(draws, count, self.options.texture)
        variation = draws.log_uniform(count, low=0.3, high=1.4)
        matrix, shift = view(draws, count)
        slices = [
            self._slice(draws, anatomy, variation, matrix, shift, depth)
            for depth in self._depths(draws, variation)
        ]
        changed = draws.chance(count, p=self.options.changed)
        other = vary(draws, contrast, changed)
        images = [
            normalised(draws, render(draws, labels, c, self.options.artefacts))
            for labels, c in zip(slices, (contrast, other), strict=True)
        ]
        targets = self._targets(draws, slices[0], slices[1])
        whole = draws.chance(*targets.shape, p=self.options.whole)
        masks = [_masks(labels, targets, whole, anatomy.organs.leader) for labels in slices]
        return Pairs(images[0], masks[0], images[1], masks[1], slices[0], slices[1], targets)

    def _anatomy(self, draws: Draws) -> Anatomy:
        anatomy = draw_anatomy(draws, self.batch, self.options.chambers)
        if self.options.simple:
            anatomy.organs.alive[:, FREE:] = False
        return anatomy

    def _depths(self, draws: Draws, variation: Tensor) -> tuple[Tensor, Tensor]:
        """Where the two slices lie along z: only roughly matched."""
        support = draws.normal(len(variation), std=0.04)
        return support, support + draws.normal(len(variation), std=0.07) * variation

    def _slice(
        self,
        draws: Draws,
        anatomy: Anatomy,
        variation: Tensor,
        matrix: Tensor,
        shift: Tensor,
        depth: Tensor,
    ) -> Tensor:
        """Labels (B, H, W) of a new patient of each anatomy."""
        size = self.options.size
        patient = draw_patient(draws, anatomy, variation, self.options.missing)
        pose, astray = self.options.pose, self.options.astray
        coarse = min(size // 2, max(48, 3 * size // 8))  # bodies are smooth: see `cut`
        places = patient_coordinates(draws, matrix, shift, variation, coarse, pose, astray)
        return cut(patient, places, depth, size) * field_of_view(draws, self.batch, size)

    def _targets(self, draws: Draws, support: Tensor, query: Tensor) -> Tensor:
        """Labels of each support (B, T), a share `absent` of them lacking in the query."""
        count = self.options.targets
        smallest = self.options.smallest * (self.options.size / 128) ** 2
        sizes, others = areas_of(support, LABELS), areas_of(query, LABELS)
        label = torch.arange(LABELS, device=support.device)
        weight = torch.where(label < FIRST_ORGAN, self.options.ground, 1.0) * (sizes >= smallest)
        weight[:, 0] = 1e-6  # air, where nothing else is left
        found = draws.pick(weight * (others >= smallest / 2) + 1e-9 * weight, count)
        lacking = weight * (others == 0)
        lost = draws.pick(lacking + 1e-9 * weight, count)
        swap = draws.chance(len(support), count, p=self.options.absent)
        return torch.where(swap & (lacking.gather(1, lost) > 0), lost, found)


def _masks(labels: Tensor, targets: Tensor, whole: Tensor, leader: Tensor) -> Tensor:
    """Masks (B, T, H, W) float of the targets, where `whole` (B, T) with the cores inside them."""
    ground = torch.arange(FIRST_ORGAN, device=labels.device).expand(len(labels), -1)
    hosts = torch.cat([ground, FIRST_ORGAN + leader], 1)  # (B, LABELS), its own of what is no core
    wanted = torch.arange(LABELS, device=labels.device) == targets[..., None]
    wanted |= whole[..., None] & (hosts[:, None] == targets[..., None])
    flat = labels.flatten(1)[:, None].expand(-1, targets.shape[1], -1)
    return wanted.float().gather(2, flat).view(*targets.shape, *labels.shape[1:])


def areas_of(labels: Tensor, count: int) -> Tensor:
    """Pixels (B, count) float of each of the labels 0 … count − 1 in (B, H, W)."""
    flat = labels.flatten(1)
    zeros = torch.zeros(len(flat), count, device=labels.device)
    return zeros.scatter_add(1, flat, torch.ones_like(flat, dtype=zeros.dtype))
