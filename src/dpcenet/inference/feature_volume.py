"""A scan as a coarse volume of features in mm, by which two scans are laid upon each other.

The maps of a network's slices are averaged to a common distance of slices; air is marked, and the
features of two scans are made comparable: seen from each scan's own mean, and whitened together, so
that what all of the body has in common no longer hides where in the body a cell lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.inference.encoded import give_back_tensor

SHRINKAGE = 0.1  # of the covariance's eigenvalues towards their mean
AIR = 0.15  # of a scan's range of intensities: what lies below is no body
TOGETHER = 64  # slices that are looked at at once
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
