"""NIfTI-1 and NIfTI-2 files, read behind guards and written whole or not at all.

nibabel interprets the header; the voxels are read here, because nibabel asks for the memory that
a header claims before it looks whether the file holds that much.
"""

# nibabel has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from dpcenet.errors import VolumeError
from dpcenet.system.files import write_atomically
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.geometry import check_affine
from dpcenet.volumes.grid import ScanFile, SourceGrid

Header = Nifti1Header  # Nifti2Header is one, too

# Everything that places the voxels, and nothing that names the patient.
GEOMETRY_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
_FOREIGN_UNITS = ("meter", "micron")


def read_nifti(path: Path, max_bytes: int = payload.MAX_BYTES) -> ScanFile:
    """Read a .nii or .nii.gz file.

    Args:
        path: the file.
        max_bytes: cap on the decompressed voxels.

    Returns:
        (Z, Y, X) voxels in the file's type, or floating if the header scales them, and the grid.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    payload.check_file(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file) if packed else file)
            header, claims = _read_header(stream, path)
            _check_claims(claims, path)
            data = _read_voxels(stream, claims, path, packed, max_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(
            path, f"the gzip stream is damaged ({error})", "a whole file", payload.COPY_AGAIN
        ) from error
    volume = Volume(data, claims.affine[:, [2, 1, 0, 3]])
    return ScanFile(volume, SourceGrid.of(volume, "nifti", geometry_fields(header)))


def write_nifti(data: npt.NDArray[np.generic], path: Path, grid: SourceGrid) -> None:
    """Write an array in the grid of the file it belongs to; the type of `data` is kept.

    Args:
        data: (Z, Y, X) as in `grid`.
        path: ends in .nii or .nii.gz.
        grid: of the scan. Shape, affine, qform, sform, their codes and the units are kept.
    """
    header = header_for(grid)
    header.set_data_dtype(data.dtype)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    voxels = np.ascontiguousarray(data, dtype=header.get_data_dtype())
    content = header.binaryblock + bytes(4) + voxels.tobytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


@dataclass(frozen=True)
class _Claims:
    """What a header says of its voxels, in nibabel's axis order (x, y, z)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    affine: npt.NDArray[np.float64]
    slope: float
    inter: float
    unit: str


def _read_header(stream: BinaryIO, path: Path) -> tuple[Header, _Claims]:
    """Parse the first bytes of a NIfTI file of either version and byte order."""
    start = stream.read(4)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    kind = Nifti2Header if 540 in sizes else Nifti1Header
    length = kind.template_dtype.itemsize
    raw = start + stream.read(length - 4)
    try:
        if length not in sizes or len(raw) < length:
            raise HeaderDataError("no NIfTI header")
        header = kind(raw)
        if not header["magic"].item().startswith(b"n+"):
            raise HeaderDataError("not a single-file NIfTI")
        with np.errstate(invalid="ignore"):  # NaN is refused later, with a reason
            return header, _claims(header)
    except (HeaderDataError, KeyError, ValueError, OverflowError) as error:
        raise VolumeError(
            path,
            f"the header cannot be read ({error})",
            "a NIfTI file (.nii, .nii.gz)",
            "Export the scan again as NIfTI.",
        ) from error


def _claims(header: Header) -> _Claims:
    slope, inter = header.get_slope_inter()
    return _Claims(
        shape=tuple(int(n) for n in header.get_data_shape()),
        dtype=header.get_data_dtype(),
        offset=max(int(header.get_data_offset()), header.template_dtype.itemsize),
        # sform before qform before the voxel sizes
        affine=np.asarray(header.get_best_affine(), dtype=np.float64),
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
        unit=header.get_xyzt_units()[0],
    )


def _check_claims(claims: _Claims, path: Path) -> None:
    """Refuse what is no 3-D volume of real numbers on a right-angled grid in mm."""
    shape, dtype = claims.shape, claims.dtype
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        raise VolumeError(
            path,
            f"the shape is {shape}",
            "a 3-D volume",
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
    if claims.unit in _FOREIGN_UNITS:
        raise VolumeError(
            path, f"lengths are in {claims.unit}", "mm", "Set the header's unit to mm."
        )
    check_affine(claims.affine, path)


def _read_voxels(
    stream: BinaryIO, claims: _Claims, path: Path, packed: bool, max_bytes: int
) -> npt.NDArray[Any]:
    """Read exactly the voxels that the header claims: (Z, Y, X)."""
    x, y, z = claims.shape[:3]
    claimed = x * y * z * claims.dtype.itemsize
    size = path.stat().st_size
    available = (size * payload.DEFLATE_LIMIT if packed else size) - claims.offset
    payload.check_claim(path, claimed, max_bytes, max(available, 0))
    stream.seek(claims.offset)
    raw = payload.read_limited(stream, claimed + 1)  # one more, which also checks gzip's sum
    payload.check_length(path, len(raw), claimed)
    # Fortran order in (x, y, z) is C order in (z, y, x).
    data = np.frombuffer(raw, dtype=claims.dtype).reshape(z, y, x)
    return _scaled(data.astype(claims.dtype.newbyteorder("="), copy=False), claims)


def _scaled(data: npt.NDArray[Any], claims: _Claims) -> npt.NDArray[Any]:
    """Voxels times slope plus intercept; untouched where that changes nothing."""
    if (claims.slope, claims.inter) == (1.0, 0.0):
        return data
    # 16-bit values keep every digit in float32; wider ones need float64.
    out = np.empty(data.shape, dtype=np.float32 if data.itemsize <= 2 else np.float64)
    for z, plane in enumerate(data):  # slice by slice: float64 of a whole CT is too much
        out[z] = plane.astype(np.float64) * claims.slope + claims.inter
    return out


def geometry_fields(header: Header) -> dict[str, Any]:
    """What places the voxels, for `SourceGrid.header`."""
    fields: dict[str, Any] = {name: header[name].tolist() for name in GEOMETRY_FIELDS}
    fields["version"] = 2 if isinstance(header, Nifti2Header) else 1
    return fields


def header_for(grid: SourceGrid) -> Header:
    """A header with the grid's place; the source's own fields where it was NIfTI."""
    if grid.format == "nifti":
        header = Nifti2Header() if grid.header["version"] == 2 else Nifti1Header()
        for name in GEOMETRY_FIELDS:
            header[name] = grid.header[name]
        return header
    header = Nifti1Header()
    header.set_data_shape(grid.shape[::-1])
    affine = grid.matrix[:, [2, 1, 0, 3]]
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    return header
