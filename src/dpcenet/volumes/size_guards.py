"""Guards against files whose header and content disagree, applied before memory is asked for."""

from __future__ import annotations

import io
import stat
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import is_large, mapped

MAX_BYTES = 4 * 1024**3
"""Largest volume that is read unless the caller says otherwise, in bytes after decompression."""

CHUNK = 1 << 20

DEFLATE_LIMIT = 1032
"""No deflate stream grows more than this when it is decompressed."""

BLANK_RATIO = 900
"""What grows more than this is one value almost everywhere."""

BLANK_BYTES = 768 * 1024**2
"""So much of almost one value is no scan, and a mask only in a type that is far too wide."""

LOOK_FIRST_BYTES = 64 * 1024**2
"""From here on, what may be one value everywhere is looked through before it is kept."""

COPY_AGAIN = "Copy or export the file again."


class BoundedFile(io.BufferedReader):
    """A file of which no more is asked for than it has.

    Libraries ask for what a header claims, and room for all of it is taken before it is read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        return super().read(-1 if size is None else min(size, self._size))


def check_file(path: Path) -> None:
    """Refuse what is not a file with content.

    Raises:
        VolumeError: missing, a folder, not a regular file, out of reach, or empty.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VolumeError(path, "there is no such file", "a scan", "Check the path.") from error
    except (OSError, ValueError) as error:  # no permission, a name too long, a link to itself
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "Check the path and its permissions."
        raise VolumeError(path, f"cannot be reached ({reason})", "a scan", remedy) from error
    if stat.S_ISDIR(found.st_mode):
        raise VolumeError(path, "this is a folder", "one file", "Name a file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise VolumeError(path, "this is not a regular file", "a scan", "Check the path.")
    if found.st_size == 0:
        raise VolumeError(path, "the file is empty", "a scan", COPY_AGAIN)


def check_claim(path: Path, claimed: int, max_bytes: int, available: int) -> None:
    """Refuse a header that claims more than may be read, or than the file can hold.

    Args:
        path: the file.
        claimed: bytes of voxels by the header.
        max_bytes: the cap.
        available: the most bytes that the file can possibly give.

    Raises:
        VolumeError: the claim is too large.
    """
    if claimed > max_bytes:
        raise VolumeError(
            path,
            f"the header claims {claimed:,} bytes of voxels",
            f"at most {max_bytes:,}",
            "Crop or resample the scan, or raise the limit if it is right.",
        )
    if claimed > available:
        raise VolumeError(
            path,
            f"the header claims {claimed:,} bytes of voxels but the file holds at most "
            f"{available:,}",
            "header and content that agree",
            f"The file is cut short or damaged. {COPY_AGAIN}",
        )


def check_blank(path: Path, claimed: int, size: int) -> None:
    """Refuse gigabytes of one value, which a small compressed file can claim.

    Args:
        path: the file.
        claimed: bytes of voxels by the header.
        size: of the compressed file, in bytes.

    Raises:
        VolumeError: it would fill the memory with next to nothing.
    """
    if claimed > BLANK_BYTES and claimed > BLANK_RATIO * size:
        raise VolumeError(
            path,
            f"{size:,} bytes claim to hold {claimed:,}: almost every voxel has the same value",
            "a scan or a mask",
            "Check that this is the scan; save a large mask as 8-bit numbers.",
        )


def check_one_value(stream: BinaryIO, path: Path, claimed: int, size: int, width: int) -> None:
    """Refuse one value everywhere, such as NaN, without keeping it; the stream is used up.

    Args:
        stream: that decompresses, at the first voxel.
        path: the file.
        claimed: bytes of voxels by the header.
        size: of the compressed file, in bytes.
        width: bytes of a voxel.

    Raises:
        VolumeError: every voxel has the same bytes.
    """
    if claimed <= max(LOOK_FIRST_BYTES, BLANK_RATIO * size):
        return
    first, left = stream.read(width), claimed - width
    pattern = first * (CHUNK // width)
    while left > 0 and (chunk := stream.read(min(len(pattern), left))):
        if chunk != pattern[: len(chunk)]:
            return
        left -= len(chunk)
    raise one_value(path, claimed // width)


def one_value(path: Path, voxels: int) -> VolumeError:
    """The error for a file of one value."""
    found = f"all {voxels:,} voxels have the same value, or none"
    return VolumeError(path, found, "an image or a mask", "Check that this is the scan.")


def check_length(path: Path, found: int, claimed: int) -> None:
    """Refuse a payload whose length is not what the header says.

    Raises:
        VolumeError: it is shorter or longer.
    """
    if found != claimed:
        size = f"more than {claimed:,}" if found > claimed else f"{found:,}"
        raise VolumeError(
            path,
            f"{size} bytes of voxels",
            f"{claimed:,} as the header says",
            f"The file is cut short or damaged. {COPY_AGAIN}",
        )


def read_limited(stream: BinaryIO, limit: int) -> npt.NDArray[np.uint8]:
    """Read up to `limit` bytes (N,); what is taken grows with what really comes, not with the
    limit. Many bytes lie in a file of their own; see `system.large_arrays`.

    Raises:
        OSError: the disk has no room for them.
    """
    data = bytearray()
    while not is_large(len(data)) and (chunk := _chunk(stream, limit - len(data))):
        data += chunk
    if not is_large(len(data)):
        return np.frombuffer(data, np.uint8)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        size = len(data)
        del data
        while size < limit and (chunk := _chunk(stream, limit - size)):
            size += file.write(chunk)
        return mapped(cast(BinaryIO, file), size)


def _chunk(stream: BinaryIO, left: int) -> bytes:
    return stream.read(min(CHUNK, left))


def inflated_length(stream: BinaryIO, limit: int, width: int) -> tuple[int, bool]:
    """Count the bytes of a zlib or gzip stream without keeping them; stops beyond `limit`.

    Args:
        stream: at its first byte.
        limit: bytes of voxels that are expected.
        width: bytes of a voxel.

    Returns:
        how many there are, and whether every voxel has the same ones.

    Raises:
        EOFError: the stream is cut short.
        zlib.error: it is damaged.
    """
    inflater = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either wrapper
    total, pattern, alike = 0, b"", True
    while not inflater.eof and total <= limit:
        packed = inflater.unconsumed_tail or stream.read(CHUNK)
        if not packed:
            raise EOFError("the compressed stream ends too early")
        chunk = inflater.decompress(packed, CHUNK)
        pattern = pattern or chunk[:width] * (CHUNK // width + 2)
        start = total % width
        alike = alike and chunk == pattern[start : start + len(chunk)]
        total += len(chunk)
    return total, alike
