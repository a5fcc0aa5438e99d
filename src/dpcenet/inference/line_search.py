"""How alike two volumes of features are along straight lines in z, for every shift in the plane.

Σ weight · cosine is computed once for each pair of slices and each shift in the plane; every line
through the pairs is then a sum of a few of these numbers, so that thousands of lines cost little.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from dpcenet.inference.feature_volume import FeatureVolume, seen_in_plane, slice_blend

Labels = npt.NDArray[np.uint8]


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
    mask = torch.from_numpy(np.isin(label, list(values)).astype(np.float32))
    size = (volume.maps.shape[-2], volume.maps.shape[-1])
    cells = F.adaptive_avg_pool2d(mask[:, None], size)[:, 0]
    distance = len(volume.maps) * volume.step / len(label)
    blend = slice_blend(len(label), distance, volume.step)
    share = (blend @ cells.flatten(1)).view(len(blend), *size).numpy()
    shown = share > min(0.02, float(share.max()) / 2)
    sampling = (volume.step, volume.cell, volume.cell)
    away = ndimage.distance_transform_edt(~shown, sampling=sampling)
    return torch.from_numpy(np.exp(-0.5 * (away / deviation) ** 2)).float()


def pair_likeness(
    support: FeatureVolume,
    weight: Tensor,
    query: FeatureVolume,
    way: tuple[float, float],
    reach: int,
) -> tuple[Tensor, Tensor]:
    """Of each pair of slices, under each shift in the plane, Σ weight · cosine over the cells.

    Args:
        support, query: of unit features.
        weight: (Zs, h, w) of the support's cells.
        way: scale and turn in the plane.
        reach: shifts go from −reach to reach cells of the query, along y and x.

    Returns:
        (D, Zs, Zq), and (Zs,) the sum of the weights.
    """
    size = query.maps.shape[-1]
    maps, mass = (
        seen_in_plane(x, support.cell, query.cell, size, *way)
        for x in (support.maps, weight[:, None])
    )
    shown = (F.normalize(maps, dim=1) * mass).flatten(1)
    seen = query.maps * query.body[:, None].clamp(0, 1).sqrt()
    seen = F.pad(seen, (reach,) * 4)
    spots = product(range(2 * reach + 1), repeat=2)
    alike = [shown @ seen[:, :, y : y + size, x : x + size].flatten(1).T for y, x in spots]
    return torch.stack(alike), mass.sum((1, 2, 3))


def line_scores(
    alike: Tensor,
    shares: Tensor,
    places: Tensor,
    query: FeatureVolume,
    middle: float,
    scales: Sequence[float],
    steps: Tensor,
) -> Tensor:
    """Mean likeness along lines: (D, scales, steps). What lies outside the query is like nothing.

    Args:
        alike: (D, Zs, Zq).
        shares: (Zs,) weights of the support's slices.
        places: (Zs,) of the support's slices in mm.
        query: whose slices `alike` has.
        middle: place of the support in mm that the lines lead to `steps` of the query.
        scales: of the lines.
        steps: (B,) in mm.
    """
    padded = F.pad(alike, (1, 1)) / shares.sum().clamp_min(1e-6)
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
