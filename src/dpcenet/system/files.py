"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dpcenet.errors import ConfigError, DpcenetError, one_line
from dpcenet.system.faults import out_of_space
from dpcenet.system.structured import MAX_JSON, MAX_YAML, MEND, Needs, parse_json, parse_yaml

_LOG = logging.getLogger(__name__)


def write_atomically(path: Path, write: Callable[[Path], object], mode: int = 0o644) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place.

    The temporary name ends like `path`, because some writers choose the format by the suffix. Until
    it is moved, nobody else may read it.

    Args:
        path: of the file.
        write: is given the temporary name.
        mode: who may read and write the file.

    Raises:
        OSError: it cannot be written; it names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        with disk_errors(path):
            write(temporary)
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled, which gets its name when the block ends, and is removed if it fails.

    Args:
        folder: an older one is replaced, or deleted where the new one stays empty.
    """
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        if any(partial.iterdir()):
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Name the file where the disk is full; some libraries raise an error of their own.

    Raises:
        OSError: with the file's name and ENOSPC, whatever the library raised.
    """
    try:
        yield
    except Exception as error:
        if not out_of_space(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def write_json(path: Path, data: object, mode: int = 0o644) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, allow_nan=True) + "\n", mode)


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write text, whole or not at all; `mode` as in `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), mode)


def reserve(file: Path | int, start: int, size: int) -> None:
    """Take room on the disk for `size` bytes of a file (or its descriptor) from byte `start` on.

    Writing to the mapping of a sparse file ends the process where the disk is full; this raises
    OSError before. Nothing happens where the system cannot do it (macOS, Windows).
    """
    if not hasattr(os, "posix_fallocate"):
        return
    if isinstance(file, int):
        os.posix_fallocate(file, start, size)
        return
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), start, size)


def hash_of(data: object) -> str:
    """sha256 of a JSON-able value, independent of the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(
    path: Path,
    needs: Needs | None = None,
    *,
    error: type[DpcenetError] = ConfigError,
    remedy: str = MEND,
    finite: bool = True,
) -> dict[str, Any]:
    """Read a JSON object; arguments as in `structured.parse_json`.

    Raises:
        error: the file cannot be read, or is not of the form that is expected.
    """
    content = _content(path, MAX_JSON, error, remedy)
    return parse_json(content, path, needs, error=error, remedy=remedy, finite=finite)


def read_yaml(
    path: Path,
    needs: Needs | None = None,
    *,
    error: type[DpcenetError] = ConfigError,
    remedy: str = MEND,
) -> dict[str, Any]:
    """Read a YAML mapping; arguments as in `structured.parse_json`.

    Raises:
        error: the file cannot be read, or is not of the form that is expected.
    """
    content = _content(path, MAX_YAML, error, remedy)
    return parse_yaml(content, path, needs, error=error, remedy=remedy)


def read_or_set_aside(
    path: Path, needs: Needs | None = None, finite: bool = True
) -> dict[str, Any] | None:
    """Read a JSON object that can be made again, or None where it has to be.

    Args:
        path: the file; where it is damaged it gets another name, and a note says so.
        needs, finite: as in `structured.parse_json`.
    """
    if not path.exists():
        return None
    try:
        return read_json(path, needs, remedy="it is made again", finite=finite)
    except ConfigError as error:
        note_damaged(path, error)
        return None


def note_damaged(path: Path, error: DpcenetError) -> None:
    """Set a file aside that can be made again, and say so."""
    _LOG.warning("%s (the damaged file is kept: %s)", error, set_aside(path).name)


def set_aside(path: Path) -> Path:
    """Give a file a name that nothing looks for: NAME.damaged, or NAME.damaged-2, …"""
    place, number = path.with_name(f"{path.name}.damaged"), 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.damaged-{number}")
    return path.rename(place)


def _content(path: Path, most: int, error: type[DpcenetError], remedy: str) -> bytes:
    """The bytes of a regular file, at most one more than `most`."""
    try:
        if path.exists() and not path.is_file():
            raise error(one_line(f"{path}: this is not a regular file; {remedy}"))
        with path.open("rb") as stream:
            return stream.read(most + 1)
    except (OSError, ValueError) as wrong:  # ValueError: a null character in the name
        reason = getattr(wrong, "strerror", None) or wrong
        raise error(one_line(f"{path}: cannot be read ({reason}); {remedy}")) from wrong
