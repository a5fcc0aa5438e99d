"""A scan of which every slice was encoded once, and windows of it that may stand for its images.

Its features lie in memory or on disk, from where the system reads them when they are asked for.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dpcenet.system.files import reserve
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


def joined(parts: Iterable[Features], count: int, folder: Path | None = None) -> Features:
    """Join batches of features as they come, so that they are never held twice.

    In `folder` they lie in files that have lost their names, and vanish with the last tensor, or
    with the process, however it ends.

    Args:
        parts: batches, `count` rows together.
        count: rows of all.
        folder: on the disk to use, which must exist; None joins in memory.

    Raises:
        OSError: the disk is full.
    """
    maps: dict[str, Tensor] = {}
    start = 0
    for part in parts:
        for name, tensor in part.maps.items():
            if name not in maps:
                shape = (count, *tensor.shape[1:])
                maps[name] = (
                    _nameless(shape, tensor.dtype, folder) if folder else _alike(shape, tensor)
                )
            maps[name][start : start + len(tensor)] = tensor
        start += len(part)
    return Features(maps)


def _alike(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An empty tensor, in the memory layout of one that has other rows."""
    last = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _nameless(shape: tuple[int, ...], dtype: torch.dtype, folder: Path) -> Tensor:
    """A tensor whose memory is a file without a name."""
    size = math.prod(shape)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-") as file:
        file.truncate(size * dtype.itemsize)
        reserve(Path(file.name), 0, size * dtype.itemsize)
        return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(shape)
