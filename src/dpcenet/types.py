"""The nouns of this project, in the order in which data flows. Read this file first.

Axes: Z slices, Y rows, X columns; Sh shots, N queries, C channels, H×W pixels, h×w cells.
A volume lies in memory as (Z, Y, X); its affine takes the index (z, y, x, 1) to RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # reading scans needs no torch, which takes seconds and 200 MB to import
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Volume:
    """A scan or a label map, with its place in the patient.

    Attributes:
        data: (Z, Y, X) array of numbers.
        affine: (4, 4) float64; takes the array index (z, y, x, 1) to RAS+ mm.
    """

    data: npt.NDArray[np.generic]
    affine: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        steps = " × ".join(f"{step:.4g}" for step in self.spacing)
        return f"Volume({self.data.shape} {self.data.dtype}, voxels of {steps} mm)"

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
        import torch

        names = parts[0].maps if parts else ()
        return Features({k: torch.cat([part.maps[k] for part in parts]) for k in names})


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
