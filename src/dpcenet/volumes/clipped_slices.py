"""The slices of a scan without its padding, clipped, as float32: made when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dpcenet.volumes.made_slices import MadeSlices, in_slices
from dpcenet.volumes.padding import Padding, is_padding, lowest_beside


@dataclass(frozen=True)
class ClippedSlices(MadeSlices):
    """Slices of an oriented scan (Z, Y, X).

    Attributes:
        padding: what holds no measurement; `fill` stands in its place.
        bounds: lowest and highest intensity, one pair after the other; None where there is none.
    """

    padding: Padding | None = None
    fill: float = 0.0
    bounds: tuple[tuple[float | None, float | None], ...] = ()

    @classmethod
    def of(cls, data: npt.NDArray[Any], padding: Padding | None, fill: float | None) -> Self:
        """Slices that are not clipped yet; None fills padding with the lowest value beside it."""
        if padding is None:
            return cls(data)
        if fill is None:
            fill = lowest_beside(in_slices(cls(data)), padding)
        return cls(data, padding, fill)

    def clipped(self, low: float | None, high: float | None) -> Self:
        """The same; intensities below `low` and above `high` become these."""
        return replace(self, bounds=(*self.bounds, (low, high)))

    def __getitem__(self, z: int) -> npt.NDArray[np.float32]:
        plane: npt.NDArray[np.float32] = self.base[z].astype(np.float32)
        if self.padding is not None:
            plane[is_padding(plane, self.padding)] = self.fill
        for low, high in self.bounds:
            if low is not None:
                np.maximum(plane, np.float32(low), out=plane)
            if high is not None:
                np.minimum(plane, np.float32(high), out=plane)
        return plane
