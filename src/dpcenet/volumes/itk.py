"""NRRD and MetaImage files through SimpleITK, behind the guards that NIfTI files get.

SimpleITK returns a full image, without an error, for a file that is cut short. So the header's
few lines about storage are read here, and the voxels are counted before SimpleITK may load them.
ITK's millimetres are LPS+ (left, posterior, superior); ours are RAS+.
"""

# SimpleITK has no annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dpcenet.errors import VolumeError
from dpcenet.system.files import write_atomically
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.geometry import LPS_TO_RAS, check_affine
from dpcenet.volumes.grid import ScanFile, SourceGrid

_HEADER_LINES = 10_000
_HEADER_LINE_BYTES = 100_000
_ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}

_PIXEL_BYTES = {
    **dict.fromkeys((sitk.sitkUInt8, sitk.sitkInt8), 1),
    **dict.fromkeys((sitk.sitkUInt16, sitk.sitkInt16), 2),
    **dict.fromkeys((sitk.sitkUInt32, sitk.sitkInt32, sitk.sitkFloat32), 4),
    **dict.fromkeys((sitk.sitkUInt64, sitk.sitkInt64, sitk.sitkFloat64), 8),
}


@dataclass(frozen=True)
class _Storage:
    """Where the voxels lie: in `file` from byte `offset` on; -1 means at the file's end."""

    file: Path
    offset: int
    compressed: bool


def read_itk(path: Path, max_bytes: int = payload.MAX_BYTES) -> ScanFile:
    """Read a .nrrd, .nhdr, .mha or .mhd file.

    Args:
        path: the file.
        max_bytes: cap on the decompressed voxels.

    Returns:
        (Z, Y, X) voxels in the file's type, and the grid.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    payload.check_file(path)
    storage = _storage(path)
    payload.check_file(storage.file)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        claimed = _claimed_bytes(reader, path)
        affine = affine_of(reader)
        check_affine(affine, path)
        _check_payload(path, storage, claimed, max_bytes)
        data = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise _unreadable(path, reason) from error
    volume = Volume(data, affine)
    header = {
        "origin": list(reader.GetOrigin()),
        "spacing": list(reader.GetSpacing()),
        "direction": list(reader.GetDirection()),
    }
    return ScanFile(volume, SourceGrid.of(volume, "itk", header))


def write_itk(data: npt.NDArray[np.generic], path: Path, grid: SourceGrid) -> None:
    """Write an array in the grid of the file it belongs to; the type of `data` is kept.

    A .mhd or .nhdr file gets its voxels inside, so that it is one file and whole or absent.

    Args:
        data: (Z, Y, X) as in `grid`.
        path: ends in .nrrd, .nhdr, .mha or .mhd.
        grid: of the scan.
    """
    header = grid.header if grid.format == "itk" else _itk_header(grid)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data))
    image.SetOrigin(header["origin"])
    image.SetSpacing(header["spacing"])
    image.SetDirection(header["direction"])
    suffix = path.suffix.lower()

    def write(temporary: Path) -> None:
        # ITK chooses by the suffix whether the voxels go inside.
        inside = temporary.with_suffix(_ONE_FILE.get(suffix, suffix))
        sitk.WriteImage(image, str(inside), useCompression=True)
        inside.replace(temporary)

    write_atomically(path, write)


def _itk_header(grid: SourceGrid) -> dict[str, Any]:
    """Origin, spacing and direction of a grid that did not come from ITK."""
    lps = LPS_TO_RAS[:3, :3] @ grid.matrix[:3, [2, 1, 0, 3]]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    direction = (lps[:, :3] / spacing).ravel()
    return {
        "origin": lps[:, 3].tolist(),
        "spacing": spacing.tolist(),
        "direction": direction.tolist(),
    }


def affine_of(image: sitk.Image | sitk.ImageFileReader) -> npt.NDArray[np.float64]:
    """Affine of the index (z, y, x) to RAS+ mm."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine = np.eye(4)
    affine[:3, :3] = (LPS_TO_RAS[:3, :3] @ direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = LPS_TO_RAS[:3, :3] @ np.array(image.GetOrigin())
    return affine


def _claimed_bytes(reader: sitk.ImageFileReader, path: Path) -> int:
    """Bytes of voxels by the header, for an image with one real number for each voxel."""
    pixel, numbers = reader.GetPixelID(), reader.GetNumberOfComponents()
    if pixel not in _PIXEL_BYTES or numbers != 1:
        raise VolumeError(
            path,
            f"the voxels are {sitk.GetPixelIDValueAsString(pixel)} with {numbers} numbers each",
            "one real number of up to 64 bits for each voxel",
            "Convert the scan to grey values.",
        )
    return int(math.prod(reader.GetSize())) * _PIXEL_BYTES[pixel]


def _check_payload(path: Path, storage: _Storage, claimed: int, max_bytes: int) -> None:
    """Count the voxels that are really there."""
    available = storage.file.stat().st_size - max(storage.offset, 0)
    if not storage.compressed:
        payload.check_claim(path, claimed, max_bytes, available)
        if storage.offset >= 0:
            payload.check_length(path, available, claimed)
        return
    payload.check_claim(path, claimed, max_bytes, available * payload.DEFLATE_LIMIT)
    try:
        with storage.file.open("rb") as stream:
            stream.seek(storage.offset)
            found = payload.inflated_length(stream, claimed)
    except (EOFError, zlib.error) as error:
        raise VolumeError(
            path, f"the compressed voxels are damaged ({error})", "a whole file", payload.COPY_AGAIN
        ) from error
    payload.check_length(path, found, claimed)


def _storage(path: Path) -> _Storage:
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    fields, end = _fields(path, ":" if nrrd else "=")
    _check_dimension(path, fields.get("dimension" if nrrd else "ndims", "none"))
    return _nrrd_storage(path, fields, end) if nrrd else _meta_storage(path, fields, end)


def _check_dimension(path: Path, dimension: str) -> None:
    """Refuse all but 3-D before ITK parses the header: it crashes on a dimension of 99."""
    if dimension != "3":
        raise VolumeError(
            path,
            f"the header's dimension is {dimension}",
            "a 3-D volume",
            "Save the scan as one 3-D .nrrd, .mha or .nii.gz file.",
        )


def _fields(path: Path, separator: str) -> tuple[dict[str, str], int]:
    """The text header: its fields by lower-case name without spaces, and where it ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for _ in range(_HEADER_LINES):
            line = stream.readline(_HEADER_LINE_BYTES).decode("latin-1")
            if not line.strip():  # a blank line, or the end of a header with voxels elsewhere
                break
            name, found, value = line.partition(separator)
            name = name.strip().lower().replace(" ", "")
            if found and not line.startswith("#") and not value.startswith("="):
                fields[name] = value.strip()
            if name == "elementdatafile":
                break
        return fields, stream.tell()


def _nrrd_storage(path: Path, fields: dict[str, str], end: int) -> _Storage:
    """Storage by the NRRD header."""
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise _unreadable(path, f"encoding {encoding!r} is neither raw nor gzip")
    skip = fields.get("byteskip", "0")
    if fields.get("lineskip", "0") != "0" or skip not in (
        ("0", "-1") if encoding == "raw" else "0"
    ):
        raise _unreadable(path, "it skips lines or bytes before the voxels")
    elsewhere = fields.get("datafile")
    file, start = (_beside(path, elsewhere), 0) if elsewhere else (path, end)
    return _Storage(file, -1 if skip == "-1" else start, encoding != "raw")


def _meta_storage(path: Path, fields: dict[str, str], end: int) -> _Storage:
    """Storage by the MetaImage header."""
    if "elementdatafile" not in fields:
        raise _unreadable(path, "no ElementDataFile")
    if fields.get("binarydata", "true").lower() == "false":
        raise _unreadable(path, "the voxels are written as text")
    compressed = fields.get("compresseddata", "false").lower() == "true"
    skip = fields.get("headersize", "0")
    if not (skip.isdigit() or (skip == "-1" and not compressed)):
        raise _unreadable(path, f"HeaderSize is {skip!r}")
    local = fields["elementdatafile"].upper() == "LOCAL"
    file, start = (path, end) if local else (_beside(path, fields["elementdatafile"]), 0)
    return _Storage(file, -1 if skip == "-1" else start + int(skip), compressed)


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names."""
    if name.upper().startswith("LIST") or "%" in name:
        raise _unreadable(path, "the voxels lie in several files")
    file = path.parent / name
    if not file.is_file():
        raise VolumeError(
            path,
            f"the voxels should be in {name}, which is not there",
            "the header and its data file side by side",
            "Copy both files together.",
        )
    return file


def _unreadable(path: Path, reason: str) -> VolumeError:
    return VolumeError(
        path,
        f"the file cannot be read ({reason})",
        "an NRRD or MetaImage file",
        "Save the scan again as .nrrd, .mha or .nii.gz.",
    )
