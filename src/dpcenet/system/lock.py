"""File locks: one process of this machine at a time; a process that was killed holds none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class Held(Exception):
    """Another process holds a lock.

    Attributes:
        by: what that process wrote into the file; "" where it wrote nothing.
    """

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


@contextmanager
def held(path: Path, *, wait: bool = False, note: str = "", remove: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs; the system lets it go when the process ends.

    Args:
        path: of the lock's file; its folder must be there.
        wait: until another process lets it go, instead of raising.
        note: what others are told of this process.
        remove: delete the file at the end.

    Raises:
        Held: another process holds it.
        OSError: the file cannot be written.
    """
    with _locked_file(path, wait) as stream:
        try:
            stream.truncate(0)
            stream.write(note)
            stream.flush()
            yield
        finally:
            if remove:
                with suppress(PermissionError):  # Windows deletes no file that is open
                    path.unlink(missing_ok=True)


def _locked_file(path: Path, wait: bool) -> IO[str]:
    """The open file, locked.

    Its last holder may have deleted it between the opening and the locking: then it is opened anew,
    or two processes would hold two files of one name.
    """
    while True:
        stream = path.open("a+", encoding="utf-8")
        if not _lock(stream, wait):
            with stream:
                stream.seek(0)
                raise Held(stream.read())
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


def _lock(stream: IO[str], wait: bool) -> bool:
    """Lock a file until it is closed; whether that could be done."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(stream, wait)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _lock_on_windows(stream: IO[str], wait: bool) -> bool:
    """The same on Windows: of one byte far behind the note, so that others can read the note."""
    import msvcrt

    stream.seek(1 << 20)
    while True:
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            if not wait:
                return False
            time.sleep(0.05)
        else:
            return True
