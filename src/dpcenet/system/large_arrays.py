"""Large arrays lie in files without names, so that a scan of any length fits into little memory.

Such an array is used like any other. The system reads its pages when they are asked for; they count
as memory of the process until they are given back, which is what going through it in `blocks` does.
The files lie in the folder for temporary files (`TMPDIR` names another one), and vanish with the
array, or with the process, however it ends.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dpcenet.system.faults import out_of_space
from dpcenet.system.files import reserve

LARGE = 64 * 1024**2
"""Bytes from which on an array lies in a file."""
BLOCK = 16 * 1024**2
"""Bytes of a large array that are looked at together."""


def is_large(size: int) -> bool:
    """Whether so many bytes lie in a file; on Windows, which keeps files that are mapped, nothing
    does."""
    return size > LARGE and os.name == "posix"


class _Pages(mmap.mmap):
    """The memory of a file that nobody else maps: what is given back is not lost."""


def room_for(shape: Sequence[int], dtype: npt.DTypeLike, among: int = 1) -> npt.NDArray[Any]:
    """An array of zeros: in memory where it, and all that are kept beside it, are small together,
    or where the disk has no room for it.

    Args:
        shape, dtype: of the array.
        among: how many such arrays are kept at a time.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not is_large(size * among):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            file.truncate(size)
            reserve(file.fileno(), 0, size)
        except OSError as error:
            if not out_of_space(error):
                raise
            return np.zeros(shape, dtype)
        return np.ndarray(tuple(shape), dtype, _Pages(file.fileno(), size))


def mapped(file: BinaryIO, size: int) -> npt.NDArray[np.uint8]:
    """The first bytes (size,) of a temporary file as an array; the file may be closed."""
    file.flush()
    return np.ndarray((size,), np.uint8, _Pages(file.fileno(), size))


def give_back(array: object) -> None:
    """Let go of the memory of an array of `room_for`, or of what has one as its `base`; its values
    stay. Nothing happens to arrays that lie in memory.
    """
    owner = array
    while owner is not None and not isinstance(owner, _Pages):
        owner = getattr(owner, "base", None)
    if isinstance(owner, _Pages) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def give_back_range(address: int, size: int) -> None:
    """The same for a shared mapping of a file that another library made; whole pages only."""
    if not sys.platform.startswith("linux") or not size:
        return
    libc = ctypes.CDLL(None)
    libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_int(mmap.MADV_DONTNEED))


def blocks(array: npt.NDArray[Any]) -> Iterator[slice]:
    """Parts of an array along its first axis, in order; each is given back after its turn."""
    count = max(1, BLOCK // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), count):
        yield slice(start, min(start + count, len(array)))
        give_back(array)


def planes(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """array[0], array[1], …; what was gone through is given back."""
    for part in blocks(array):
        yield from array[part]


def low_and_high(array: npt.NDArray[Any]) -> tuple[Any, Any]:
    """The least and the greatest value of an array that is not empty; NaN where one is there."""
    ends = [(array[part].min(), array[part].max()) for part in blocks(array)]
    return np.min([low for low, _ in ends]), np.max([high for _, high in ends])


def changed(
    array: npt.NDArray[Any], dtype: npt.DTypeLike, out: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """The values in another type, in `out` where that is given; the array itself where nothing
    changes."""
    if out is None and array.dtype == dtype:
        return array
    made = room_for(array.shape, dtype) if out is None else out
    for part in blocks(array):
        made[part] = array[part]
        give_back(made)
    return made


@dataclass(frozen=True)
class MadeSlices(ABC):
    """Slices of an array, changed.

    Attributes:
        base: (Z, Y, X).
    """

    base: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(Z, Y, X)."""
        return self.base.shape

    def __len__(self) -> int:
        return len(self.base)

    @abstractmethod
    def __getitem__(self, z: int) -> npt.NDArray[Any]:
        """One slice (Y, X)."""


Slices = npt.NDArray[Any] | MadeSlices


@dataclass(frozen=True)
class Where(MadeSlices):
    """Where a label map has one value: bool slices.

    Attributes:
        value: of the label.
    """

    value: int = 0

    def __getitem__(self, z: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self.base[z] == self.value)


def in_slices(data: Slices) -> Iterator[npt.NDArray[Any]]:
    """The slices of an array, or of what is made from one; what was gone through is given back."""
    base = data.base if isinstance(data, MadeSlices) else data
    for part in blocks(base):
        yield from (data[z] for z in range(part.start, part.stop))
