"""Whether two files hold one scan: the same voxels in the same place, however they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import planes
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, Affine, orient, same_grid


@dataclass(frozen=True)
class ScanIdentity:
    """What a scan is known by, under any name and in any format and array order.

    Its voxels are read again when they are first asked for: most scans are never compared with
    another on the same grid, and to hash them all takes seconds, to keep them memory.

    Attributes:
        name: by which messages call it.
        shape: of its voxels, oriented as `geometry.orient` does.
        affine: (4, 4) of those.
        read: gives the scan (Z, Y, X) once more.
    """

    name: str
    shape: tuple[int, ...]
    affine: Affine
    read: Callable[[], Volume]

    @staticmethod
    def of(name: str, volume: Volume, read: Callable[[], Volume]) -> ScanIdentity:
        """The identity of a scan (Z, Y, X) that `read` gives once more."""
        oriented, _ = orient(volume)
        return ScanIdentity(name, oriented.data.shape, oriented.affine, read)

    @cached_property
    def digest(self) -> str:
        """Of its voxels; see `voxels_digest`."""
        return voxels_digest(orient(self.read())[0].data)

    def is_of(self, volume: Volume) -> bool:
        """Whether a scan (Z, Y, X) is this one; voxels are looked at only on the same grid.

        Raises:
            VolumeError: this one cannot be read any more.
        """
        oriented, _ = orient(volume)
        grid = Volume(np.broadcast_to(np.uint8(0), self.shape), self.affine)
        if not same_grid(oriented, grid) <= GRID_TOLERANCE_MM:
            return False
        return voxels_digest(oriented.data) == self.digest


def voxels_digest(data: npt.NDArray[Any]) -> str:
    """sha256 of voxels (Z, Y, X): the same for the same numbers, in whatever type they are."""
    digest = hashlib.sha256(str(data.shape).encode())
    for plane in planes(data):
        digest.update(np.ascontiguousarray(plane, dtype=np.float64).tobytes())
    return digest.hexdigest()
