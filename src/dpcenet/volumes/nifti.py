"""NIfTI-1 and NIfTI-2 files, read behind guards and written whole or not at all.

nibabel interprets the header; `claims` reads the voxels.
"""

# nibabel has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from dpcenet.errors import VolumeError
from dpcenet.system.files import write_atomically
from dpcenet.system.large_arrays import blocks
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.claims import (
    MM_IN,
    Claims,
    check_claims,
    numbered,
    read_voxels,
    unpacked_stream,
)
from dpcenet.volumes.geometry import same_grid
from dpcenet.volumes.label_table import MOST_BYTES, extension_of, labels_in
from dpcenet.volumes.scan_file import (
    AS_IT_IS,
    NO_LABELS,
    SPLIT,
    Facts,
    Labels,
    ReadOptions,
    ScanFile,
    SourceGrid,
    choose,
    sidecar_modality,
)

Header = Nifti1Header  # Nifti2Header is one, too

# Everything that places the voxels, and nothing that names the patient.
GEOMETRY_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)

_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}
_TIMES = (0, 8, 16, 24, 32, 40, 48)
_SILENT = logging.Logger("nibabel")
_SILENT.addHandler(logging.NullHandler())


def read_nifti(
    path: Path, max_bytes: int = payload.MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a .nii or .nii.gz file; a header in metres or micrometres comes out in mm.

    Args:
        path: the file.
        max_bytes: cap on the decompressed voxels.
        options: which volume of a 4-D file.

    Returns:
        (Z, Y, X) voxels in the file's type, or floating if the header scales them, and the grid.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    with unpacked_stream(path) as (stream, packed):
        header, claims = _read_header(stream, path)
        volumes = check_claims(claims, path)
        index = choose(options.part, numbered(volumes), path, SPLIT)
        labels = _read_labels(stream, header, claims)
        data = read_voxels(stream, claims, path, packed, max_bytes, index)
    volume = Volume(data, claims.affine[:, [2, 1, 0, 3]])
    fields = geometry_fields(header)
    notes = []
    if int(header["xyzt_units"]) % 8 not in _UNITS:
        notes.append(f"the header's unit is none (code {header['xyzt_units']}); taken as mm")
    if claims.unit in MM_IN:
        notes.append(f"lengths in {claims.unit} became mm")
    if _broken_qform(header):
        fields["qform_code"] = 0
        notes.append("the header's qform is no rotation; the sform is used, and written alone")
    if volumes > 1:  # a mask of one of them is 3-D
        fields["dim"][0], fields["dim"][4:] = 3, [1] * 4
    facts = Facts(sidecar_modality(path), labels=labels, notes=tuple(notes))
    return ScanFile(volume, SourceGrid.of(volume, "nifti", fields), facts=facts)


def volumes_in_nifti(path: Path) -> int:
    """How many volumes a .nii or .nii.gz file holds, by its header.

    Raises:
        VolumeError: it cannot be read.
    """
    with unpacked_stream(path) as (stream, _):
        return check_claims(_read_header(stream, path)[1], path)


def _broken_qform(header: Header) -> bool:
    """Whether a header has a qform that other programs would stumble over."""
    try:
        return header["qform_code"] > 0 and header.get_qform() is None
    except (HeaderDataError, ValueError):
        return True


def write_nifti(
    data: npt.NDArray[np.generic], path: Path, grid: SourceGrid, labels: Labels = NO_LABELS
) -> None:
    """Write an array in the grid of the file it belongs to; the type of `data` is kept.

    Args:
        data: (Z, Y, X) as in `grid`.
        path: ends in .nii or .nii.gz.
        grid: of the scan. Shape, affine, qform, sform, their codes and the units are kept.
        labels: what the values mean, for the header's extension.
    """
    header, extension = header_for(grid), extension_of(labels)
    header.set_data_dtype(data.dtype)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4 + len(extension)
    header["scl_slope"], header["scl_inter"] = 1, 0
    head = header.binaryblock + bytes([bool(extension), 0, 0, 0]) + extension
    kind = header.get_data_dtype()
    pieces = (np.ascontiguousarray(data[part], kind).tobytes() for part in blocks(data))
    packed = path.name.lower().endswith(".gz")
    write_atomically(path, lambda temporary: _write(temporary, chain([head], pieces), packed))


def _write(path: Path, pieces: Iterable[bytes], packed: bool) -> None:
    """Write pieces one after the other; packed as gzip, without a name or a time."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS) if packed else None
    with path.open("wb") as file:
        for piece in pieces:
            file.write(packer.compress(piece) if packer else piece)
        file.write(packer.flush() if packer else b"")


def _read_header(stream: BinaryIO, path: Path) -> tuple[Header, Claims]:
    """Parse the first bytes of a NIfTI file of either version and byte order."""
    start = stream.read(4)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    kind = Nifti2Header if 540 in sizes else Nifti1Header
    length = kind.template_dtype.itemsize
    raw = start + stream.read(length - 4)
    try:
        if length not in sizes or len(raw) < length:
            raise HeaderDataError("no NIfTI header")
        header = parsed(kind, raw)
        if not header["magic"].item().startswith(b"n+"):
            raise HeaderDataError("not a single-file NIfTI")
        with np.errstate(invalid="ignore"):  # NaN is refused later, with a reason
            return header, claims_of(header)
    except (HeaderDataError, KeyError, ValueError, OverflowError) as error:
        raise VolumeError(
            path,
            f"the header cannot be read ({error})",
            "a NIfTI file (.nii, .nii.gz)",
            "Export the scan again as NIfTI.",
        ) from error


def parsed(kind: Any, raw: bytes) -> Any:
    """A header of nibabel, which prints nothing; it takes sizes of 0 for 1 mm, which is refused.

    Args:
        kind: class of the header.
        raw: its bytes.

    Raises:
        HeaderDataError: it is none, or nothing says how large a voxel is.
    """
    header = checked(kind, raw)
    stored = kind(raw, check=False)
    placed = "sform_code" in stored.keys() and stored["sform_code"] > 0  # noqa: SIM118
    lengths, sizes = stored["dim"][1:4], stored["pixdim"][1:4]
    axes = np.arange(3) < stored["dim"][0]
    if not placed and (axes & (lengths > 1) & (sizes == 0)).any():
        raise HeaderDataError(f"voxels of {' × '.join(f'{size:g}' for size in sizes)} mm")
    return header


def checked(kind: Any, raw: bytes) -> Any:
    """A header of nibabel, with what it mends mended; nothing of that is printed.

    Without any handler Python itself prints warnings of a log, so nibabel gets a log of its own.

    Args:
        kind: class of the header.
        raw: its bytes.

    Raises:
        HeaderDataError: it cannot be mended.
    """
    header = kind(raw, check=False)
    header.check_fix(_SILENT)
    return header


def unit_of(header: Header) -> str:
    """The unit of lengths, as nibabel names it; "unknown" for codes that mean none."""
    return _UNITS.get(int(header["xyzt_units"]) % 8, "unknown")


def claims_of(header: Any, first: int | None = None) -> Claims:
    """What a header of nibabel says of its voxels.

    Args:
        header: of a NIfTI or Analyze file.
        first: the byte before which no voxel lies; None takes the header's end.
    """
    slope, inter = header.get_slope_inter()
    unit = unit_of(header) if isinstance(header, Nifti1Header) else "mm"
    least = header.template_dtype.itemsize if first is None else first
    return Claims(
        shape=tuple(int(n) for n in header.get_data_shape()),
        dtype=header.get_data_dtype(),
        offset=max(int(header.get_data_offset()), least),
        affine=_in_mm(header.get_best_affine(), unit),  # sform before qform before voxel sizes
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
        unit=unit,
    )


def _read_labels(stream: BinaryIO, header: Header, claims: Claims) -> Labels:
    """Names of labels between header and voxels, where the stream stands."""
    size = claims.offset - header.template_dtype.itemsize - 4
    if not 0 < size <= MOST_BYTES or stream.read(4)[:1] == b"\0":
        return NO_LABELS
    return labels_in(stream.read(size), "big" if header.endianness == ">" else "little")


def _in_mm(affine: npt.NDArray[Any], unit: str) -> npt.NDArray[np.float64]:
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= MM_IN.get(unit, 1.0)
    return scaled


def geometry_fields(header: Header) -> dict[str, Any]:
    """What places the voxels, for `SourceGrid.header`."""
    fields: dict[str, Any] = {name: header[name].tolist() for name in GEOMETRY_FIELDS}
    space = fields["xyzt_units"] % 8
    if space not in _UNITS or fields["xyzt_units"] - space not in _TIMES:
        fields["xyzt_units"] = space if space in _UNITS else 2  # other programs stumble over it
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


def forms_apart_mm(grid: SourceGrid) -> float:
    """Largest distance in mm between the places that sform and qform of a NIfTI header give a
    corner; 0 where one of them is not set."""
    if grid.format != "nifti" or not (grid.header["qform_code"] and grid.header["sform_code"]):
        return 0.0
    header = Nifti1Header()
    for name, value in grid.header.items():
        if name.startswith(("quatern", "qoffset")) or name in {"pixdim", "qform_code"}:
            header[name] = value
    unit = unit_of(header_for(grid))
    other = _in_mm(header.get_qform(), unit)[:, [2, 1, 0, 3]]
    blank = np.broadcast_to(np.uint8(0), grid.shape)
    return same_grid(Volume(blank, grid.matrix), Volume(blank, other))
