"""The nouns of this project, in the order in which data flows. Read this file first.

Axes: Z slices, Y rows, X columns; Sh shots, N queries, C channels, H×W pixels, h×w cells.
A volume lies in memory as (Z, Y, X); its affine takes the index (z, y, x, 1) to RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Volume:
    """A scan or a label map, with its place in the patient.

    Attributes:
        data: (Z, Y, X) array of numbers.
        affine: (4, 4) float64; takes the array index (z, y, x, 1) to RAS+ mm.
    """

    data: npt.NDArray[np.generic]
    affine: npt.NDArray[np.float64]

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along z, y and x."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


@dataclass(frozen=True)
class Episode:
    """One task: a labelled support and queries to segment. One label, 1-way.

    Attributes:
        support_images: (Sh, 1, H, W) float, normalised intensities.
        support_masks: (Sh, H, W) float in {0, 1}.
        query_images: (N, 1, H, W) float.
        query_masks: (N, H, W) float in {0, 1}, or None where the truth is unknown.
        seed: every random choice of a method on this episode comes from it.
    """

    support_images: Tensor
    support_masks: Tensor
    query_images: Tensor
    query_masks: Tensor | None = None
    seed: int = 0

    def to(self, device: torch.device | str) -> Episode:
        """The same episode with its tensors on `device`."""
        masks = None if self.query_masks is None else self.query_masks.to(device)
        return Episode(
            self.support_images.to(device),
            self.support_masks.to(device),
            self.query_images.to(device),
            masks,
            self.seed,
        )


@dataclass(frozen=True)
class Features:
    """What an encoder says of a batch of images: named tensors that share the batch axis.

    Attributes:
        maps: name → (B, ...) tensor; feature maps are (B, C, h, w).
    """

    maps: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.maps[name]

    def __len__(self) -> int:
        return len(next(iter(self.maps.values())))

    def apply(self, function: Callable[[Tensor], Tensor]) -> Features:
        """The features with `function` applied to each tensor."""
        return Features({name: function(tensor) for name, tensor in self.maps.items()})

    def rows(self, index: slice | list[int] | Tensor) -> Features:
        """The features of some images of the batch; the batch axis is kept."""
        return self.apply(lambda tensor: tensor[index])

    @staticmethod
    def join(parts: list[Features]) -> Features:
        """Features of several batches as one batch."""
        names = parts[0].maps if parts else ()
        return Features({k: torch.cat([part.maps[k] for part in parts]) for k in names})


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


@dataclass(frozen=True)
class Prediction:
    """What a method says of the queries.

    Attributes:
        log_probs: (N, 2, H, W) log-probabilities, channel 0 background, channel 1 foreground.
        losses: extra loss terms by name, already weighted; empty when evaluating. The loss of
            the query itself belongs to the training loop.
        diagnostics: scalars worth logging, such as the effective number of keys of an attention.
    """

    log_probs: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """How well one label of one query volume was segmented.

    Attributes:
        method: preset of the run, or "copy".
        case, label, support, fold, seed, protocol: which query, organ, labelled scan and run.
        dice, iou, nsd: 0…1; hd95_mm: 95th percentile of the surface distances in mm. What they
            are where a mask is empty, `dpcenet.volumes.metrics` says.
    """

    method: str
    case: str
    label: str
    support: str
    fold: int
    seed: int
    protocol: str
    dice: float
    iou: float
    hd95_mm: float
    nsd: float
