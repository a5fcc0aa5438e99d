"""A scan of which every slice was encoded once, and windows of it that may stand for its images.

Its features lie in memory or on disk, from where the system reads them when they are asked for.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from dpcenet.system.files import reserve
from dpcenet.system.large_arrays import give_back_range, is_large
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

    def give_back(self) -> None:
        """Let go of what of it lies in files and was read; see `system.large_arrays`."""
        for tensor in (self.images, *self.features.maps.values()):
            give_back_tensor(tensor)

    def features_of(self, slices: Sequence[int]) -> Features:
        """Features of some slices; those of neighbours in order are not copied."""
        first, stop = slices[0], slices[-1] + 1
        in_order = list(slices) == list(range(first, stop))
        return self.features.rows(slice(first, stop) if in_order else list(slices))


def joined(parts: Iterable[Features], count: int) -> Features:
    """Join batches of features as they come, so that they are never held twice.

    Args:
        parts: batches, `count` rows together.
        count: rows of all.
    """
    maps: dict[str, Tensor] = {}
    start = 0
    for part in parts:
        for name, tensor in part.maps.items():
            if name not in maps:
                maps[name] = room_like(tensor, count)
            maps[name][start : start + len(tensor)] = tensor
            give_back_tensor(maps[name])
        start += len(part)
    return Features(maps)


def room_like(tensor: Tensor, count: int) -> Tensor:
    """A tensor of `count` rows, in the layout of one that has other rows. A large one on the CPU
    lies in a file without a name; see `system.large_arrays`."""
    shape = (count, *tensor.shape[1:])
    channels = tensor.ndim == 4 and tensor.shape[1] > 1  # of a single one, both layouts are one
    last = channels and tensor.is_contiguous(memory_format=torch.channels_last)
    size = math.prod(shape) * tensor.dtype.itemsize
    if tensor.device.type == "cpu" and is_large(size):
        with suppress(OSError):  # no room on the disk: it lies in memory
            return _nameless(shape, tensor.dtype, last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


def give_back_tensor(tensor: Tensor) -> None:
    """Let go of the memory of a tensor of `room_like` that lies in a file; its values stay."""
    storage = tensor.untyped_storage()
    if tensor.device.type == "cpu" and storage.filename is not None:
        give_back_range(storage.data_ptr(), storage.nbytes())


def _nameless(shape: tuple[int, ...], dtype: torch.dtype, last: bool) -> Tensor:
    """A tensor whose memory is a file without a name."""
    size = math.prod(shape)
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size * dtype.itemsize)
        reserve(file.fileno(), 0, size * dtype.itemsize)
        flat = torch.from_file(file.name, shared=True, size=size, dtype=dtype)
    if not last:
        return flat.view(shape)
    count, channels, height, width = shape
    return flat.view(count, height, width, channels).permute(0, 3, 1, 2)
