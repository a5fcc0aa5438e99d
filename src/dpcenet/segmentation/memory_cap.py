"""A cap on memory: what a process holds, and what a scan will need.

The size is read here and not by `pydantic.ByteSize`, which takes "4G,B" for 4 GB and refuses "4Gi".
"""

from __future__ import annotations

import math
import re
import sys

from dpcenet.errors import ConfigError, VolumeError
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.support import Support
from dpcenet.segmentation.queries import Query
from dpcenet.system import large_arrays
from dpcenet.system.words import counted
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.io import suffix_of
from dpcenet.volumes.scan_file import ScanFile

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}
_READING = 5
"""The most bytes that reading needs for a byte of voxels: 8-bit values become float32."""
_WHOLE = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Files that ITK reads, which holds all voxels of a file."""
_WORKING = 16 * large_arrays.BLOCK
"""Bytes that computing takes beside whole arrays: blocks of several, and maps of a batch."""
_COMPARED = 150_000
"""Bytes for a slice while slices are compared: copies of its descriptor in 64 bits."""
_REMEDY = "Raise --memory, take fewer --jobs, or crop the scan."


def parse_size(text: str) -> int:
    """Bytes of "4GB", "800 MB", "2GiB" or a plain number.

    Raises:
        ConfigError: it is none of these, or 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?)B?\s*", text.upper())
    size = int(float(match[1]) * _UNITS[match[2]]) if match and match[2] in _UNITS else 0
    if size == 0:
        raise ConfigError(f"--memory {text}: write a size such as 4GB, 800MB or 2GiB")
    return size


def peak() -> int:
    """The most bytes that this process has held so far.

    Raises:
        ConfigError: the system does not say (Windows).
    """
    try:
        import resource
    except ImportError as error:
        raise ConfigError("--memory: this system does not say how much a process holds") from error
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return taken if sys.platform == "darwin" else taken * 1024


def free_of(cap: int, support: Support) -> int:
    """Bytes that a cap leaves for a scan, with the network and the labelled scans in memory.

    Raises:
        ConfigError: they are too few for one slice.
    """
    size = support.rules.size
    slice_bytes = size * size * 4 * (3 + len(support.values))
    free = cap - peak()
    if free < slice_bytes:
        least = math.ceil((peak() + slice_bytes) / 1e8) / 10
        raise ConfigError(
            f"--memory: {cap / 1e9:.2f} GB for a process cannot hold one slice beside the network "
            f"and the labelled scans; give at least {least:.1f} GB for each of the --jobs"
        )
    return free


def read_under(query: Query, free: int) -> ScanFile:
    """Read a query if there is memory to read and scale its voxels.

    Raises:
        VolumeError: there is not, or the query cannot be used.
    """
    whole = not isinstance(query.source, Series) and suffix_of(query.source).endswith(_WHOLE)
    if not whole and free >= _READING * large_arrays.LARGE:
        return query.read()  # block by block
    limit = free // _READING
    try:
        return query.read(limit)
    except VolumeError as error:
        if error.expected != f"at most {limit:,}":
            raise
        expected = f"{error.expected}, which --memory leaves for reading a scan"
        raise VolumeError(error.path, error.found, expected, _REMEDY) from error


def _in_memory(size: int) -> int:
    """Bytes of an array of so many that are in memory at once."""
    return large_arrays.BLOCK if large_arrays.is_large(size) else size


def _features(scan: EncodedScan, slices: int) -> list[int]:
    """Bytes of each map of so many slices, if they are as large as a scan's."""
    return [tensor[:1].nbytes * slices for tensor in scan.features.maps.values()]


def check_room(
    scan: ScanFile, support: Support, free: int, name: str, maps: int, posed: bool
) -> None:
    """Refuse a scan that needs more memory than is free.

    Of a large array, which lies in a file and is looked at block by block, a block counts.

    Args:
        scan: as read.
        support: its rules are those by which the scan will be prepared.
        free: from `free_of`.
        name: of the scan.
        maps: float32 arrays on the scan's own grid that will be written (probabilities).
        posed: whether the labelled scans are aligned with the scan, in copies.

    Raises:
        VolumeError: the message says how much it needs.
    """
    volume = scan.volume
    oriented, _ = orient(volume, support.affine)
    step = support.rules.slice_spacing_mm or oriented.spacing[0]
    slices = math.ceil(len(oriented.data) * oriented.spacing[0] / step) + 1
    first = support.scans[0].slices
    native = [volume.data.nbytes, volume.data.size, *([4 * volume.data.size] if maps else [])]
    image = slices * support.rules.size**2 * 4
    prepared = [image] * (3 + len(support.values)) + _features(first, slices)
    aligned = [
        size
        for each in (support.scans if posed else ())
        for size in (each.slices.images.nbytes, *_features(each.slices, len(each.label)))
    ]
    held = sum(map(_in_memory, (*native, *prepared, *aligned)))
    needed = held + _WORKING + _COMPARED * slices
    if needed > free:
        raise VolumeError(
            name,
            f"segmenting {counted(len(oriented.data), 'slice')} takes about {needed / 1e9:.1f} GB",
            f"at most {free / 1e9:.1f} GB, which --memory leaves for a scan",
            _REMEDY,
        )
