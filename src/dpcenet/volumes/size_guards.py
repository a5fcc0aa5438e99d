"""Guards against files whose header and content disagree, applied before memory is asked for."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from dpcenet.errors import VolumeError

MAX_BYTES = 4 * 1024**3
"""Largest volume that is read unless the caller says otherwise, in bytes after decompression."""

CHUNK = 1 << 20

DEFLATE_LIMIT = 1032
"""No deflate stream grows more than this when it is decompressed."""

COPY_AGAIN = "Copy or export the file again."


def check_file(path: Path) -> None:
    """Refuse what is not a file with content.

    Raises:
        VolumeError: missing, a folder, not a regular file, or empty.
    """
    if not path.exists():
        raise VolumeError(path, "there is no such file", "a scan", "Check the path.")
    if path.is_dir():
        raise VolumeError(path, "this is a folder", "one file", "Name a file in it.")
    if not path.is_file():
        raise VolumeError(path, "this is not a regular file", "a scan", "Check the path.")
    if path.stat().st_size == 0:
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


def read_limited(stream: BinaryIO, limit: int) -> bytearray:
    """Read up to `limit` bytes; memory grows with what really comes, not with the limit."""
    data = bytearray()
    while len(data) < limit and (chunk := stream.read(min(CHUNK, limit - len(data)))):
        data += chunk
    return data


def inflated_length(stream: BinaryIO, limit: int) -> int:
    """Count the bytes of a zlib or gzip stream without keeping them; stops beyond `limit`.

    Raises:
        EOFError: the stream is cut short.
        zlib.error: it is damaged.
    """
    inflater = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # either wrapper
    total = 0
    while not inflater.eof and total <= limit:
        chunk = inflater.unconsumed_tail or stream.read(CHUNK)
        if not chunk:
            raise EOFError("the compressed stream ends too early")
        total += len(inflater.decompress(chunk, CHUNK))
    return total
