"""Size and form of one label's mask."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from scipy import ndimage

from dpcenet.volumes.boxes_and_values import Mask, box_of
from dpcenet.volumes.metrics import dice


@dataclass(frozen=True)
class Shape:
    """Size and form of one label's mask.

    Attributes:
        volume_ml: in millilitres.
        extent_mm: from its first to its last slice.
        components: connected parts.
        largest: share of its volume that the largest part holds.
        continuity: mean Dice of neighbouring slices that show it.
    """

    volume_ml: float
    extent_mm: float
    components: int
    largest: float
    continuity: float


def shape_of(mask: Mask, spacing: tuple[float, float, float]) -> Shape:
    """Describe a mask (Z, H, W) that is not empty; spacing along z, y, x in mm."""
    mask = mask[box_of(mask)]
    shown = np.flatnonzero(mask.any(axis=(1, 2)))
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts[mask])[1:]
    steps = [dice(mask[[low]], mask[[high]]) for low, high in pairwise(shown)]
    return Shape(
        volume_ml=float(sizes.sum() * np.prod(spacing) / 1000),
        extent_mm=float((shown[-1] - shown[0] + 1) * spacing[0]),
        components=int(count),
        largest=float(sizes.max() / sizes.sum()),
        continuity=fmean(steps) if steps else 1.0,
    )
