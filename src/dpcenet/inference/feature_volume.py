"""A scan as a coarse volume of features in mm, and how alike two such volumes are.

The maps of a network's slices are averaged to a common distance of slices; air is marked, and the
features of two scans are made comparable: seen from each scan's own mean, and whitened together, so
that what all of the body has in common no longer hides where in the body a cell lies.

Σ weight · cosine is computed once for each pair of slices and each shift in the plane; every line
in z through the pairs (`alignment`) is then a sum of a few of these numbers, so that thousands of
lines cost little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from dpcenet.inference.encoded import give_back_tensor
from dpcenet.system.large_arrays import give_back
from dpcenet.volumes.boxes_and_values import box_of

Labels = npt.NDArray[np.uint8]
SHRINKAGE = 0.1  # of the covariance's eigenvalues towards their mean
AIR = 0.15  # of a scan's range of intensities: what lies below is no body
TOGETHER = 64  # slices that are looked at at once
NOTHING = 1e-6  # share of the greatest weight of a cell below which it does not count
BODY = 0.3  # share of a cell above which it counts as body


@dataclass(frozen=True)
class FeatureVolume:
    """Features of a scan on a grid of cells.

    Attributes:
        maps: (Z, C, h, w) float32.
        body: (Z, h, w) float32, the share of each cell that is not air.
        step: distance between slices in mm; the first lies half of it from the scan's beginning.
        cell: side of a cell in the plane in mm.
    """

    maps: Tensor
    body: Tensor
    step: float
    cell: float

    @property
    def places(self) -> Tensor:
        """(Z,) mm from the scan's beginning to the middle of each slice."""
        return (torch.arange(len(self.maps)) + 0.5) * self.step

    @property
    def length(self) -> float:
        """Of the scan along z in mm."""
        return len(self.maps) * self.step


def feature_volume(
    maps: Tensor, images: Tensor, spacing: tuple[float, float, float], step: float = 8.0
) -> FeatureVolume:
    """The volume of a scan, on the CPU, where volumes are aligned: they are small.

    Args:
        maps: (Z, C, h, w) features of its slices.
        images: (Z, 1, H, W), the slices.
        spacing: of the slices along z, y, x in mm; pixels are square.
        step: wanted distance of the volume's slices in mm.
    """
    maps, images = maps.cpu(), images.cpu()
    size = (maps.shape[-2], maps.shape[-1])
    body = _body(images, size)
    blend = slice_blend(len(maps), spacing[0], step)
    flat = blend @ maps.float().flatten(1)
    return FeatureVolume(
        flat.view(len(blend), *maps.shape[1:]),
        (blend @ body.flatten(1)).view(len(blend), *size),
        len(maps) * spacing[0] / len(blend),
        spacing[1] * images.shape[-2] / maps.shape[-2],
    )


def _body(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(Z, h, w), the share of each cell that is not air, of slices (Z, 1, H, W)."""
    ends = [(part.min(), part.max()) for part in _parts(images)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    above = low + AIR * (high - low)
    body = [F.adaptive_avg_pool2d((part > above).float(), size)[:, 0] for part in _parts(images)]
    return torch.cat(body)


def _parts(images: Tensor) -> Iterator[Tensor]:
    """Some slices after the other; those that lie in a file are given back after their turn."""
    for first in range(0, len(images), TOGETHER):
        yield images[first : first + TOGETHER]
        give_back_tensor(images)


def slice_blend(count: int, distance: float, step: float) -> Tensor:
    """(Zn, Z) weights, each row of sum 1, that average slices `distance` mm apart to `step` mm."""
    coarse = max(1, round(count * distance / step))
    wide = count * distance / coarse
    old = (torch.arange(count) + 0.5) * distance
    new = (torch.arange(coarse) + 0.5) * wide
    weights = (1 - (old - new[:, None]).abs() / max(wide, distance)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def whitened(first: FeatureVolume, second: FeatureVolume) -> tuple[FeatureVolume, FeatureVolume]:
    """Both volumes with features of length 1, whitened by what varies over both bodies.

    Without body in a volume, all of its cells count.
    """
    volumes = [replace(one, body=_some(one.body)) for one in (first, second)]
    centred = [one.maps - _mean(one) for one in volumes]
    cells = torch.cat(
        [
            maps.movedim(1, -1)[one.body > min(BODY, float(one.body.max()) / 2)]
            for maps, one in zip(centred, volumes, strict=True)
        ]
    ).double()
    values, vectors = torch.linalg.eigh(cells.T @ cells / len(cells))
    values = values.clamp_min(0)
    scale = (values + SHRINKAGE * values.mean() + 1e-12).rsqrt()
    matrix = (vectors * scale @ vectors.T).float()
    unit = [F.normalize(torch.einsum("zchw,cd->zdhw", maps, matrix), dim=1) for maps in centred]
    return replace(volumes[0], maps=unit[0]), replace(volumes[1], maps=unit[1])


def seen_in_plane(
    values: Tensor, cell: float, grid_cell: float, size: int, scale: float, turn: float
) -> Tensor:
    """Maps of a scan on the cells of another, scaled and turned about the middle of the plane.

    Args:
        values: (Z, C, h, w).
        cell: side of their cells in mm.
        grid_cell: side of the other's cells in mm.
        size: cells along a side of the other.
        scale: how much larger things become.
        turn: degrees, from y towards x.

    Returns:
        (Z, C, size, size), 0 outside.
    """
    axis = (torch.arange(size) - (size - 1) / 2) * grid_cell / scale
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    y = cos * axis[:, None] + sin * axis
    x = cos * axis - sin * axis[:, None]
    height, width = values.shape[-2:]
    grid = torch.stack([2 * x / (cell * width), 2 * y / (cell * height)], -1)
    return F.grid_sample(
        values, grid.expand(len(values), -1, -1, -1), padding_mode="zeros", align_corners=False
    )


def _some(body: Tensor) -> Tensor:
    return body if bool(body.any()) else torch.ones_like(body)


def _mean(volume: FeatureVolume) -> Tensor:
    """(1, C, 1, 1), over the body."""
    weight = volume.body[:, None]
    return (volume.maps * weight).sum((0, 2, 3), keepdim=True) / weight.sum()


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
