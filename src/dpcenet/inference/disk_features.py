"""Batches of features joined in their final place, which may be on disk.

What lies on disk is read by the system when it is asked for.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from dpcenet.system.files import reserve
from dpcenet.types import Features


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
