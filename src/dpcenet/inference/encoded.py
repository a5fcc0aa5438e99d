"""A scan of which every slice was encoded once, and the windows that a task file keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dpcenet.types import Features


@dataclass(frozen=True)
class Closeups:
    """Windows around the organs of labelled slices, encoded beforehand in place of the images.

    Attributes:
        rows: (label value, slice) → (half of a window's side in pixels, its row in `features`).
        features: of all windows.
    """

    rows: Mapping[tuple[int, int], tuple[tuple[float, int], ...]]
    features: Features

    def of(self, value: int, slices: list[int], half: float) -> Features:
        """Features of the windows of one size around a label on some slices."""
        kept = (self.rows[value, z] for z in slices)
        return self.features.rows([min(w, key=lambda w: abs(w[0] - half))[1] for w in kept])

    @staticmethod
    def join(parts: list[Closeups], slices: list[int]) -> Closeups:
        """Windows of several scans; `slices` is how many slices each scan has."""
        rows: dict[tuple[int, int], tuple[tuple[float, int], ...]] = {}
        first_slice = first_row = 0
        for part, count in zip(parts, slices, strict=True):
            for (value, z), windows in part.rows.items():
                moved = tuple((half, first_row + row) for half, row in windows)
                rows[value, first_slice + z] = moved
            first_slice += count
            first_row += len(part.features) if part.rows else 0
        return Closeups(rows, Features.join([part.features for part in parts if part.rows]))


@dataclass(frozen=True)
class Encoded:
    """A prepared scan of which every slice was encoded once.

    Attributes:
        images: (Z, 1, H, W) float, the slices themselves; zeros where `closeups` stand for them.
        features: of its Z slices, ready for a method's `match`.
        spacing: of the prepared slices along z, y, x in mm.
        closeups: what a task file keeps instead of images; None where the images are there.
    """

    images: Tensor
    features: Features
    spacing: tuple[float, float, float]
    closeups: Closeups | None = None

    @staticmethod
    def join(parts: list[Encoded]) -> Encoded:
        """The slices of several scans, one scan after the other, with the first one's spacing."""
        images = torch.cat([part.images for part in parts])
        features = Features.join([part.features for part in parts])
        kept = [part.closeups for part in parts if part.closeups is not None]
        closeups = Closeups.join(kept, [len(part.images) for part in parts]) if kept else None
        return Encoded(images, features, parts[0].spacing, closeups)
