"""Slices that are made from a scan when they are asked for: a changed copy of it never exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import blocks


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
