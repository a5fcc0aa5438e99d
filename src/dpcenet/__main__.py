"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from dpcenet.errors import DpcenetError, one_line
from dpcenet.system.faults import mendable


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
        text = mendable(error)
        if not text:
            raise
        _say(one_line(text))
        sys.exit(_flushed(2))


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
