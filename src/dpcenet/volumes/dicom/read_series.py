"""A DICOM series as one volume: a folder of slices, or an enhanced file of many frames.

Needs pydicom, and python-gdcm for compressed pixels: the extra `dicom`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import Series, bad, one_series, read_header, reason
from dpcenet.volumes.dicom.slice_geometry import Slice, affine_of, arrange, slices_of
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.size_guards import DEFLATE_LIMIT, MAX_BYTES, check_claim

if TYPE_CHECKING:
    from pydicom import FileDataset

_DECODING_ERRORS = (AttributeError, KeyError, ValueError, TypeError, RuntimeError, OSError)


@dataclass(frozen=True)
class Headers:
    """What the files of a series say, and the order of their slices.

    Attributes:
        files: path → header, without pixels.
        slices: sorted along their normal.
    """

    files: dict[Path, FileDataset]
    slices: tuple[Slice, ...]


def read_series(source: Path | Series, max_bytes: int = MAX_BYTES) -> ScanFile:
    """Read a series; slices are sorted by their place in the patient.

    Args:
        source: a folder that holds one series of images, a file of a series, or what
            `find_series` found.
        max_bytes: cap on the voxels.

    Returns:
        (Z, Y, X), rows and columns as in the files: float32 intensities after slope and
        intercept, or the stored type where no file names them; and the file of each slice.

    Raises:
        VolumeError: pydicom is missing, or the files make no regular volume; the message says why.
    """
    series = source if isinstance(source, Series) else one_series(source)
    headers = read_headers(series.files)
    _check_claims(headers, series.folder, max_bytes)
    slices = list(headers.slices)
    exact = len({_stored(header) for header in headers.files.values()}) == 1
    exact &= all(each.rescale is None for each in slices)
    data: npt.NDArray[Any] | None = None
    for z, pixels in _decoded(headers):
        rescale = slices[z].rescale
        if rescale is not None:
            pixels = pixels * rescale[0] + rescale[1]
        if data is None:
            kind = pixels.dtype if exact else np.float32
            data = np.empty((len(slices), *pixels.shape), dtype=kind)
        data[z] = pixels
    assert data is not None  # `arrange` refuses a series without slices
    volume = Volume(data, affine_of(slices))
    return ScanFile(volume, SourceGrid.of(volume), tuple(each.path for each in slices))


def read_headers(files: tuple[Path, ...]) -> Headers:
    """Read the headers of a series and put its slices in order.

    Raises:
        VolumeError: a file cannot be read, or the slices make no regular volume.
    """
    found = {path: read_header(path) for path in files}
    slices = [each for path, header in found.items() for each in slices_of(header, path)]
    return Headers(found, tuple(arrange(slices, files[0].parent)))


def _check_claims(headers: Headers, folder: Path, max_bytes: int) -> None:
    """Refuse a series that claims more pixels than may be read, or than its files can hold."""
    rows, columns = headers.slices[0].shape
    bits = max(int(header.get("BitsAllocated", 16)) for header in headers.files.values())
    claimed = rows * columns * len(headers.slices) * bits // 8
    available = 0
    for path, header in headers.files.items():
        syntax = header.file_meta.get("TransferSyntaxUID", None)
        packed = syntax is not None and (syntax.is_compressed or syntax.is_deflated)
        available += path.stat().st_size * (DEFLATE_LIMIT if packed else 1)
    check_claim(folder, claimed, max_bytes, available)


def _stored(header: FileDataset) -> tuple[Any, ...]:
    """How a file stores a value: files that differ in it have no type in common."""
    names = ("BitsAllocated", "PixelRepresentation", "PhotometricInterpretation")
    return tuple(header.get(name, None) for name in names)


def _decoded(headers: Headers) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Each slice's index and its stored values (Y, X), one file open at a time."""
    places: defaultdict[Path, dict[int, int]] = defaultdict(dict)
    for z, each in enumerate(headers.slices):
        places[each.path][each.frame] = z
    for path, frames in places.items():
        header = headers.files[path]
        for frame, pixels in enumerate(_frames(path, header)):
            yield frames[frame], _upright(pixels, header)


def _frames(path: Path, header: FileDataset) -> Iterator[npt.NDArray[Any]]:
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels.utils import iter_pixels

    rows, columns = int(header.Rows), int(header.Columns)
    try:
        for pixels in iter_pixels(path):
            if pixels.shape != (rows, columns):
                raise ValueError(f"{pixels.shape} pixels for {rows} rows and {columns} columns")
            yield pixels
    except (*_DECODING_ERRORS, InvalidDicomError) as error:
        raise _undecodable(path, header, error) from error


def _undecodable(path: Path, header: FileDataset, error: Exception) -> VolumeError:
    syntax = header.file_meta.get("TransferSyntaxUID", None)
    if syntax is not None and syntax.is_compressed:
        found = f"the pixels, compressed as {syntax.name}, cannot be read ({reason(error)})"
        expected = "no compression, or JPEG, JPEG-LS, JPEG 2000 or RLE"
        return bad(path, found, expected, "Decompress the series, or export it again.")
    return bad(path, f"the pixels cannot be read ({reason(error)})", "pixels of the right size")


def _upright(pixels: npt.NDArray[Any], header: FileDataset) -> npt.NDArray[Any]:
    """Stored values in which larger is brighter, as almost every scan has them.

    Deviates: MONOCHROME1 says so of the display alone; scans that differ in it alone would not
    look alike to a network. ITK turns them, too.
    """
    if header.get("PhotometricInterpretation", "") != "MONOCHROME1":
        return pixels
    bits, signed = int(header.BitsStored), int(header.get("PixelRepresentation", 0)) == 1
    return np.asarray((-1 if signed else 2**bits - 1) - pixels.astype(np.int32))
