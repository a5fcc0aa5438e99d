"""A scan of which every slice was encoded once, and windows of it that may stand for its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dpcenet.types import Features


@dataclass(frozen=True)
class EncodedWindows:
    """Windows around the organs of a labelled scan, encoded beforehand in place of its images.

    Attributes:
        rows: (label value, slice) → (half of a window's side in pixels, its row in `features`).
        features: of all windows.
    """

    rows: Mapping[tuple[int, int], tuple[tuple[float, int], ...]]
    features: Features

    def of(self, value: int, slices: Sequence[int], half: float) -> Features:
        """Features of the windows of one size around a label on some slices."""
        kept = (self.rows[value, z] for z in slices)
        return self.features.rows([min(w, key=lambda w: abs(w[0] - half))[1] for w in kept])


@dataclass(frozen=True)
class EncodedScan:
    """A prepared scan of which every slice was encoded once.

    Attributes:
        images: (Z, 1, H, W) float, the slices themselves; zeros where `windows` stand for them.
        features: of its Z slices, ready for a method's `match`.
        spacing: of the prepared slices along z, y, x in mm.
        windows: what a task file keeps instead of images; None where the images are there.
    """

    images: Tensor
    features: Features
    spacing: tuple[float, float, float]
    windows: EncodedWindows | None = None

    def __len__(self) -> int:
        return len(self.images)

    def features_of(self, slices: Sequence[int]) -> Features:
        """Features of some slices; those of neighbours in order are not copied."""
        first, stop = slices[0], slices[-1] + 1
        in_order = list(slices) == list(range(first, stop))
        return self.features.rows(slice(first, stop) if in_order else list(slices))
