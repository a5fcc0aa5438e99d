"""What a header claims of its voxels, and the voxels, read behind guards.

nibabel asks for the memory that a header claims before it looks whether the file holds that much.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import changed, planes, room_for
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.geometry import check_affine

MAX_VOLUMES = 10_000
MM_IN = {"meter": 1000.0, "micron": 0.001}
MOST_MM = 1000.0
"""A voxel in a header in metres that is larger than a metre: the unit is wrong, not the size."""


@dataclass(frozen=True)
class Claims:
    """What a header says of its voxels, in nibabel's axis order (x, y, z)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    affine: npt.NDArray[np.float64]
    slope: float
    inter: float
    unit: str


@contextmanager
def unpacked_stream(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """The bytes of a file, decompressed where it is gzip, and whether it is.

    Raises:
        VolumeError: it is no file, or what is read of it is damaged.
    """
    payload.check_file(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file) if packed else file), packed
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        found = f"the gzip stream is damaged ({error})"
        raise VolumeError(path, found, "a whole file", payload.COPY_AGAIN) from error


def numbered(volumes: int) -> list[str]:
    """Names of the volumes of a file that does not name them."""
    return [f"volume {number}" for number in range(1, min(volumes, MAX_VOLUMES) + 1)]


def check_claims(claims: Claims, path: Path) -> int:
    """Refuse what is no volume of real numbers on a right-angled grid.

    Returns:
        how many volumes there are.

    Raises:
        VolumeError: the message says why.
    """
    shape, dtype = claims.shape, claims.dtype
    several = [n for n in shape[3:] if n > 1]
    if (
        len(shape) < 2
        or min(shape) < 1
        or len(several) > 1
        or max(several, default=1) > MAX_VOLUMES
    ):
        raise VolumeError(
            path,
            f"the shape is {shape}",
            "a 3-D volume, or several along one axis",
            "Split a series into one file for each volume.",
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = "colour (RGB)" if dtype.kind == "V" else dtype.name
        raise VolumeError(
            path,
            f"the voxels are {name}",
            "one real number of up to 64 bits for each voxel",
            "Convert the scan to grey values.",
        )
    check_affine(claims.affine, path)
    check_metres(claims.unit, claims.affine, path)
    return max(several, default=1)


def check_metres(unit: str, affine: npt.NDArray[np.float64], path: Path) -> None:
    """Refuse a header in metres whose voxels would be larger than one.

    Raises:
        VolumeError: the unit is wrong.
    """
    largest = float(np.linalg.norm(affine[:3, :3], axis=0).max())
    if unit == "meter" and largest > MOST_MM:
        found = f"the header's unit is the metre, and a voxel {largest / 1000:g} m long"
        raise VolumeError(path, found, "mm", "Set the header's unit to mm.")


def read_voxels(
    stream: BinaryIO,
    claims: Claims,
    path: Path,
    packed: bool,
    max_bytes: int,
    index: int = 0,
    footer: bool = False,
) -> npt.NDArray[Any]:
    """Read exactly the voxels that the header claims.

    Args:
        stream, path: the file.
        claims: of its header.
        packed: whether the stream decompresses.
        max_bytes: cap on the voxels.
        index: which of several volumes.
        footer: whether something may come after the voxels.

    Returns:
        (Z, Y, X) of the native byte order.

    Raises:
        VolumeError: there are more or fewer.
    """
    x, y, z = (*claims.shape, 1)[:3]
    claimed = x * y * z * claims.dtype.itemsize
    volumes = max(claims.shape[3:], default=1)
    size = path.stat().st_size
    available = (size * payload.DEFLATE_LIMIT if packed else size) - claims.offset
    payload.check_claim(path, claimed, max_bytes, max(available, 0))
    payload.check_claim(path, claimed * volumes, claimed * volumes, max(available, 0))
    if packed:
        payload.check_blank(path, claimed, size)
        stream.seek(claims.offset + index * claimed)
        payload.check_one_value(stream, path, claimed, size, claims.dtype.itemsize)
    stream.seek(claims.offset + index * claimed)
    more = int(
        index == volumes - 1 and not footer
    )  # one more after the last, which also checks gzip's sum
    raw = payload.read_limited(stream, claimed + more)
    payload.check_length(path, len(raw), claimed)
    # Fortran order in (x, y, z) is C order in (z, y, x).
    data = raw.view(claims.dtype).reshape(z, y, x)
    return _scaled(changed(data, claims.dtype.newbyteorder("=")), claims)


def _scaled(data: npt.NDArray[Any], claims: Claims) -> npt.NDArray[Any]:
    """Voxels times slope plus intercept; untouched where that changes nothing."""
    if (claims.slope, claims.inter) == (1.0, 0.0):
        return data
    # 16-bit values keep every digit in float32; wider ones need float64.
    out = room_for(data.shape, np.float32 if data.itemsize <= 2 else np.float64)
    for made, plane in zip(planes(out), planes(data), strict=True):
        with np.errstate(over="ignore", invalid="ignore"):  # refused later, with a reason
            made[...] = plane.astype(np.float64) * claims.slope + claims.inter
    return out
