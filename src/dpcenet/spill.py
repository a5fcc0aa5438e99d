"""Features that lie on disk while they are used: the system reads what is asked for."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from dpcenet.types import Features


def on_disk(parts: Iterable[Features], count: int, folder: Path) -> Features:
    """Join batches of features in files of `folder` that have lost their names.

    They vanish with the last tensor, or with the process, however it ends.

    Args:
        parts: batches, `count` rows together.
        count: rows of all.
        folder: on the disk to use; must exist.
    """
    maps: dict[str, Tensor] = {}
    start = 0
    for part in parts:
        for name, tensor in part.maps.items():
            if name not in maps:
                maps[name] = _nameless((count, *tensor.shape[1:]), tensor.dtype, folder)
            maps[name][start : start + len(tensor)] = tensor
        start += len(part)
    return Features(maps)


def _nameless(shape: tuple[int, ...], dtype: torch.dtype, folder: Path) -> Tensor:
    """A tensor whose memory is a file without a name."""
    size = math.prod(shape)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-") as file:
        file.truncate(size * dtype.itemsize)
        return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(shape)
