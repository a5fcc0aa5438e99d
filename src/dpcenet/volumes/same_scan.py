"""Whether two files hold one scan: the same voxels in the same place, however they are stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import planes
from dpcenet.types import Volume
from dpcenet.volumes.geometry import GRID_TOLERANCE_MM, Affine, orient, same_grid


@dataclass(frozen=True)
class ScanIdentity:
    """What a scan is known by, under any name and in any format and array order.

    Attributes:
        name: by which messages call it.
        shape: of its voxels, oriented as `geometry.orient` does.
        affine: (4, 4) of those.
        digest: of those; see `voxels_digest`.
    """

    name: str
    shape: tuple[int, ...]
    affine: Affine
    digest: str

    @staticmethod
    def of(name: str, volume: Volume) -> ScanIdentity:
        """The identity of a scan (Z, Y, X)."""
        oriented, _ = orient(volume)
        shape = oriented.data.shape
        return ScanIdentity(name, shape, oriented.affine, voxels_digest(oriented.data))

    def is_of(self, volume: Volume) -> bool:
        """Whether a scan (Z, Y, X) is this one; its voxels are looked at only on the same grid."""
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
