"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from dpcenet.errors import DpcenetError, one_line
from dpcenet.system.faults import out_of_memory, out_of_space

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def main() -> None:
    """Run the command line."""
    try:
        from dpcenet.cli import app

        app()
    except SystemExit as ended:
        sys.exit(_flushed(ended.code))
    except DpcenetError as error:
        _say(str(error))
        sys.exit(_flushed(2))
    except Exception as error:
        text = _mendable(error)
        if not text:
            raise
        _say(one_line(text))
        sys.exit(_flushed(2))


def _mendable(error: Exception) -> str:
    """What a person can do about a fault of the machine; "" where it is none."""
    name = getattr(error, "filename", None)
    if out_of_memory(error):
        return "not enough memory; close other programs, take fewer --jobs, or smaller scans"
    if out_of_space(error):
        place = name or "the output"
        return f"{place}: no space is left on the disk; free some, and run the same command again"
    if isinstance(error, OSError) and error.errno in _FORBIDDEN and name is not None:
        return f"{name}: {error.strerror}; choose another folder"
    return ""


def _flushed(code: str | int | None) -> str | int | None:
    """The exit code; 2 where what was printed cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would raise once more when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            _say(f"standard output: {error.strerror}; the work itself is done")
            return code or 2
    return code


def _say(text: str) -> None:
    """A line to standard error, unless that is closed or full too."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"dpcenet: {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
