"""How alike two volumes of features are along straight lines in z, for every shift in the plane.

Σ weight · cosine is computed once for each pair of slices and each shift in the plane; every line
through the pairs is then a sum of a few of these numbers, so that thousands of lines cost little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from dpcenet.inference.feature_volume import (
    TOGETHER,
    FeatureVolume,
    seen_in_plane,
    slice_blend,
)
from dpcenet.system.large_arrays import give_back
from dpcenet.volumes.boxes import box_of

Labels = npt.NDArray[np.uint8]
NOTHING = 1e-6  # share of the greatest weight of a cell below which it does not count


Places = npt.NDArray[np.floating]
"""Along z of a scan, in mm."""


@dataclass(frozen=True)
class ZLine:
    """query_mm + scale · (z − support_mm): where along z of the query a place of the support is."""

    support_mm: float
    query_mm: float
    scale: float

    def in_query(self, z: float) -> float:
        """The place of the query, in mm, for a place `z` of the support."""
        return self.query_mm + self.scale * (z - self.support_mm)

    def in_support(self, z: Places) -> Places:
        """Places of the support for places `z` of the query, both in mm."""
        return (z - self.query_mm) / self.scale + self.support_mm


@dataclass(frozen=True)
class InPlane:
    """How a query lies to a support in the plane.

    Attributes:
        scale: size in the query over size in the support, in mm.
        turn: degrees by which the support is turned, from y towards x.
        cells: shift along y and x in cells of the query.
        cell: side of such a cell in mm.
    """

    scale: float
    turn: float
    cells: tuple[int, int]
    cell: float

    @property
    def shift(self) -> tuple[float, float]:
        """Along y and x in mm."""
        return self.cells[0] * self.cell, self.cells[1] * self.cell


def near_labels(
    volume: FeatureVolume, label: Labels, values: Sequence[int], deviation: float
) -> Tensor:
    """(Z, h, w), 1 in cells that show any of the labels, a Gaussian of the distance around them.

    Args:
        volume: of the scan.
        label: (Z, H, W) of the scan's slices.
        values: labels.
        deviation: of the Gaussian, in mm.
    """
    wanted = np.isin(np.arange(256), list(values))
    size = (volume.maps.shape[-2], volume.maps.shape[-1])
    cells = torch.zeros(len(label), *size)
    for first in range(0, len(label), TOGETHER):
        mask = wanted[label[first : first + TOGETHER]]
        shows = np.flatnonzero(mask.any(axis=(1, 2)))
        if len(shows):
            some = torch.from_numpy(mask[shows].astype(np.float32))[:, None]
            cells[first + shows] = F.adaptive_avg_pool2d(some, size)[:, 0]
    give_back(label)
    distance = len(volume.maps) * volume.step / len(label)
    blend = slice_blend(len(label), distance, volume.step)
    share = (blend @ cells.flatten(1)).view(len(blend), *size).numpy()
    shown = share > min(0.02, float(share.max()) / 2)
    sampling = (volume.step, volume.cell, volume.cell)
    away = ndimage.distance_transform_edt(~shown, sampling=sampling)
    return torch.from_numpy(np.exp(-0.5 * (away / deviation) ** 2)).float()


def centre_of(volume: FeatureVolume, weight: Tensor) -> float:
    """Centre of mass along z, in mm, of weights (Z, h, w); of the scan where all are 0."""
    shares = weight.sum((1, 2)) + 1e-9
    return float((volume.places * shares).sum() / shares.sum())


def pair_likeness(
    support: FeatureVolume,
    weight: Tensor,
    query: FeatureVolume,
    way: tuple[float, float],
    reach: int,
    about: tuple[int, int] = (0, 0),
) -> Tensor:
    """Of each pair of slices, under each shift in the plane, the mean cosine over all cells.

    Args:
        support, query: of unit features.
        weight: (Zs, h, w) of the support's cells.
        way: scale and turn in the plane.
        reach: shifts go by −reach … reach cells of the query from `about`, along y and x.
        about: a shift along y and x.

    Returns:
        (D, Zs, Zq), Σ weight · cosine over the cells of a pair, divided by the sum of all weights.
    """
    size = query.maps.shape[-1]
    maps, mass = (
        seen_in_plane(x, support.cell, query.cell, size, *way)
        for x in (support.maps, weight[:, None])
    )
    counts = (mass > NOTHING * mass.max()).numpy()
    if not counts.any():
        counts = np.ones_like(counts)
    slices, down, across = box_of(counts[:, 0])
    shown = F.normalize(maps[slices, :, down, across], dim=1) * mass[slices, :, down, across]
    shown = shown.flatten(1) / mass.sum().clamp_min(1e-6)
    seen = query.maps * query.body[:, None].clamp(0, 1).sqrt()
    margin = reach + max(abs(i) for i in about)
    seen = F.pad(seen, (margin,) * 4)[..., down.start :, across.start :]
    height, width = down.stop - down.start, across.stop - across.start
    rows, columns = (range(margin + i - reach, margin + i + reach + 1) for i in about)
    found = [
        shown @ seen[:, :, y : y + height, x : x + width].flatten(1).T
        for y, x in product(rows, columns)
    ]
    alike = torch.zeros(len(found), len(maps), len(seen))
    alike[:, slices] = torch.stack(found)
    return alike


def line_scores(
    alike: Tensor,
    places: Tensor,
    query: FeatureVolume,
    middle: float,
    scales: Sequence[float],
    steps: Tensor,
) -> Tensor:
    """Likeness along lines: (D, scales, steps). What lies outside the query is like nothing.

    Args:
        alike: (D, Zs, Zq).
        places: (Zs,) of the support's slices in mm.
        query: whose slices `alike` has.
        middle: place of the support in mm that the lines lead to `steps` of the query.
        scales: of the lines.
        steps: (B,) in mm.
    """
    padded = F.pad(alike, (1, 1))
    last = padded.shape[-1] - 1
    scores = []
    for scale in scales:
        there = scale * (places - middle)[:, None] + steps  # (Zs, B)
        index = (there / query.step + 0.5).clamp(0, last - 1e-3)
        low = index.floor().long().expand(len(padded), -1, -1)
        part = index - index.floor()
        value = padded.gather(2, low) * (1 - part) + padded.gather(2, low + 1) * part
        scores.append(value.sum(1))
    return torch.stack(scores, 1)


def stretch_of(scales: Sequence[float]) -> Tensor:
    """(log scale)², (scales, 1): 0 for a patient of the same size."""
    return torch.tensor(scales).log().square()[:, None]


def best_of(scores: Tensor) -> tuple[int, ...]:
    """The index of the greatest score, the first one where several are."""
    return tuple(int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape))
