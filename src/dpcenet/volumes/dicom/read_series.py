"""A DICOM series as one volume: a folder of slices, or an enhanced file of many frames.

Needs pydicom, and python-gdcm for compressed pixels: the extra `dicom`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.system.large_arrays import give_back, room_for
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import Series, one_series, plain
from dpcenet.volumes.dicom.headers import bad, read_header, read_whole, reason
from dpcenet.volumes.dicom.parts import split, without_twins
from dpcenet.volumes.dicom.regular import on_regular_grid
from dpcenet.volumes.dicom.slice_geometry import affine_of, arrange
from dpcenet.volumes.dicom.slice_header import Slice, Stored, slices_of
from dpcenet.volumes.scan_file import (
    AS_IT_IS,
    ECHO,
    Facts,
    ReadOptions,
    ScanFile,
    SourceGrid,
    choose,
)
from dpcenet.volumes.size_guards import DEFLATE_LIMIT, MAX_BYTES, check_claim

if TYPE_CHECKING:
    from pydicom import FileDataset


@dataclass(frozen=True)
class Headers:
    """What the files of a series say, and the order of their slices.

    Attributes:
        files: path → header, without pixels.
        slices: sorted along their normal.
        part: what the volume is called among those of the series; "" where it is alone.
        notes: what was left aside, a line each.
    """

    files: dict[Path, FileDataset]
    slices: tuple[Slice, ...]
    part: str = ""
    notes: tuple[str, ...] = ()


def read_series(
    source: Path | Series, max_bytes: int = MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a series; slices are sorted by their place in the patient.

    Args:
        source: a folder that holds one series of images, a file of a series, or what
            `find_series` found.
        max_bytes: cap on the voxels.
        options: which series, which volume of it (echo, phase, time point), and whether sheared or
            unevenly spaced slices are resampled.

    Returns:
        (Z, Y, X), rows and columns as in the files: float32 intensities after slope and
        intercept, or the stored type where no file names them; and the file of each slice, unless
        they were resampled.

    Raises:
        VolumeError: pydicom is missing, or the files make no regular volume; the message says why.
    """
    series = source if isinstance(source, Series) else one_series(source, options.series)
    if series.part is not None:
        options = replace(options, part=series.part)
    headers = read_headers(series.files, options)
    slices = list(headers.slices)
    _check_claims(slices, series.folder, max_bytes)
    data = _voxels(slices)
    notes = (*headers.notes, *_no_hounsfield(slices))
    facts = Facts(slices[0].modality, _padding(slices), notes=notes)
    if options.resample:
        volume, notes = on_regular_grid(data, slices)
        if notes:
            return ScanFile(volume, SourceGrid.of(volume), facts=facts.noting(*notes))
    volume = Volume(data, affine_of(slices))
    files = tuple(each.path for each in slices)
    return ScanFile(volume, SourceGrid.of(volume), files, facts)


def read_headers(files: tuple[Path, ...], options: ReadOptions = AS_IT_IS) -> Headers:
    """Read the headers of a series and put its slices in order.

    Raises:
        VolumeError: a file cannot be read, or the slices make no regular volume.
    """
    folder = files[0].parent
    found = {path: read_header(path) for path in files}
    slices, twins = without_twins(
        [each for path, header in found.items() for each in slices_of(header, path)]
    )
    parts = split(slices)
    names = list(parts)
    name = names[choose(options.part, names, folder, ECHO)]
    again = f"left aside: {counted(twins, 'file')} with a slice that was there already"
    notes = [again] if twins else []
    if name:
        notes.append(f"one of {len(names)} volumes: {name}")
    arranged = arrange(parts[name], folder, options.resample)
    kept = {each.path: found[each.path] for each in parts[name]}
    return Headers(kept, tuple(arranged), name, tuple(notes))


def split_series(series: Series) -> list[Series]:
    """The volumes of a series (echoes, phases, time points), each as a series of its own.

    Returns:
        the series itself where it is one volume.

    Raises:
        VolumeError: a header cannot be read.
    """
    headers = {path: read_header(path) for path in series.files}
    slices = [each for path, header in headers.items() for each in slices_of(header, path)]
    parts = split(without_twins(slices)[0])
    if len(parts) == 1:
        return [series]
    return [
        replace(series, name=f"{series.name}_{plain(name)}", part=number)
        for number, name in enumerate(parts, start=1)
    ]


def _check_claims(slices: list[Slice], folder: Path, max_bytes: int) -> None:
    """Refuse a series that claims more pixels than may be read, or than its files can hold."""
    rows, columns = slices[0].shape
    bits = max(each.stored.bits for each in slices)
    files = {each.path: each.stored for each in slices}
    claimed = rows * columns * len(slices) * bits // 8
    available = sum(
        path.stat().st_size * (DEFLATE_LIMIT if stored.packed else 1)
        for path, stored in files.items()
    )
    check_claim(folder, claimed, max_bytes, available)


_HOUNSFIELD = {"HU", "HU_MOD", "US", ""}
"""RescaleType of a CT: Hounsfield units, or not said, which the standard takes for the same."""
_KEPT = 32
"""Slices after which the memory of a large array is given back."""


def _voxels(slices: list[Slice]) -> npt.NDArray[Any]:
    """Intensities (Z, Y, X): after slope and intercept where a file names them."""
    kinds = {(each.stored.bits, each.stored.signed, each.stored.photometric) for each in slices}
    # Files that store values differently have no type in common.
    exact = len(kinds) == 1 and all(each.rescale is None for each in slices)
    data: npt.NDArray[Any] | None = None
    for number, (z, pixels) in enumerate(_decoded(slices)):
        rescale = slices[z].rescale
        if rescale is not None:
            pixels = pixels * rescale[0] + rescale[1]
        if data is None:
            kind = pixels.dtype.newbyteorder("=") if exact else np.dtype(np.float32)
            data = room_for((len(slices), *pixels.shape), kind)
        data[z] = pixels
        if number % _KEPT == 0:
            give_back(data)
    assert data is not None  # `arrange` refuses a series without slices
    return data


def _no_hounsfield(slices: list[Slice]) -> list[str]:
    """A note where a CT holds something else, such as a map of iodine."""
    units = sorted({each.unit for each in slices if each.modality == "CT"} - _HOUNSFIELD)
    return (
        [f"its values are no Hounsfield units: the header says {', '.join(units)}"] if units else []
    )


def _padding(slices: list[Slice]) -> tuple[float, float] | None:
    """PixelPaddingValue in the volume's unit, where all slices agree on it."""
    found = {(each.stored.padding, each.rescale) for each in slices}
    if len(found) > 1 or slices[0].stored.photometric == "MONOCHROME1":
        return None
    padding, rescale = found.pop()
    if padding is None:
        return None
    slope, intercept = rescale or (1.0, 0.0)
    ends = [float(np.float32(value * slope + intercept)) for value in padding]
    return min(ends), max(ends)


def _decoded(slices: list[Slice]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Each slice's index and its stored values (Y, X), one file open at a time."""
    places: defaultdict[Path, dict[int, int]] = defaultdict(dict)
    for z, each in enumerate(slices):
        places[each.path][each.frame] = z
    for frames in places.values():
        first = slices[next(iter(frames.values()))]
        for frame, pixels in enumerate(_frames(first)):
            if frame in frames:
                yield frames[frame], _upright(pixels, first.stored)


def _frames(first: Slice) -> Iterator[npt.NDArray[Any]]:
    """The frames of a file, as stored."""
    from pydicom.pixels.utils import iter_pixels

    try:
        for pixels in iter_pixels(_pixel_source(first)):
            if pixels.shape != first.shape:
                rows, columns = first.shape
                raise ValueError(f"{pixels.shape} pixels for {rows} rows and {columns} columns")
            yield pixels
    except (DpcenetError, MemoryError):
        raise
    except Exception as error:  # whatever pydicom and its decoders meet; see `headers.parsing`
        raise _undecodable(first.path, first.stored, error) from error


def _pixel_source(first: Slice) -> Path | FileDataset:
    """What pydicom takes the pixels from: the path, or the file read whole where it needs that."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if first.stored.compressed or (first.stored.frames > 1 and first.stored.syntax):
        return first.path
    file = read_whole(first.path)
    implicit, little = file.original_encoding
    if not first.stored.packed:
        # An old export lacks the group that names the encoding, and some files name a wrong one.
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    pixels = file.get("PixelData", None) or b""
    _check_length(first, len(pixels))
    _check_bits(first, pixels, "<u2" if little else ">u2")
    return file


def _check_length(first: Slice, found: int) -> None:
    """Refuse pixels that are more than the header says, by a row or more: some are left unread.

    Too few are refused by pydicom; a few bytes behind the pixels are padding.
    """
    rows, columns = first.shape
    row = columns * first.stored.bits / 8
    expected = row * rows * first.stored.frames
    if found >= expected + row:
        said = f"{found:,} bytes of pixels"
        raise bad(first.path, said, f"{expected:,.0f} as the header says")


def _check_bits(first: Slice, pixels: bytes, kind: str) -> None:
    """Refuse values that lie in the upper bits, as HighBit says: pydicom takes the lower ones.

    Many files have a wrong HighBit; where no value is too large for the lower bits it lies there.
    """
    stored = first.stored
    if stored.bits != 16 or not 0 < stored.used <= stored.top < 16:
        return
    above = np.frombuffer(pixels[: len(pixels) // 2 * 2], kind) >> stored.used
    negative = (1 << (16 - stored.used)) - 1 if stored.signed else 0
    if ((above != 0) & (above != negative)).any():
        found = f"its values lie in the upper bits (BitsStored {stored.used}, HighBit {stored.top})"
        raise bad(first.path, found, f"HighBit {stored.used - 1}, as the standard has it")


def _undecodable(path: Path, stored: Stored, error: Exception) -> VolumeError:
    if stored.compressed:
        found = f"the pixels, compressed as {stored.syntax}, cannot be read ({reason(error)})"
        expected = "no compression, or JPEG, JPEG-LS, JPEG 2000 or RLE"
        return bad(path, found, expected, "Decompress the series, or export it again.")
    return bad(path, f"the pixels cannot be read ({reason(error)})", "pixels of the right size")


def _upright(pixels: npt.NDArray[Any], stored: Stored) -> npt.NDArray[Any]:
    """Stored values in which larger is brighter, as almost every scan has them.

    Deviates: MONOCHROME1 says so of the display alone; scans that differ in it alone would not
    look alike to a network. ITK turns them, too.
    """
    if stored.photometric != "MONOCHROME1":
        return pixels
    return np.asarray((-1 if stored.signed else 2**stored.used - 1) - pixels.astype(np.int32))
