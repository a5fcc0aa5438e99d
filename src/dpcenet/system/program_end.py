"""How a program ends: what a person can mend is one line on standard error, and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from dpcenet.errors import DpcenetError, one_line
from dpcenet.system.faults import mendable
from dpcenet.system.quiet_dicom import silence_dicom

_SELDOM = (50_000, 20, 100)
"""When garbage is looked for. The libraries of a command make millions of objects, which all stay;
by Python's own numbers (700, 10, 10) the search is a fifth of the time that they take to load."""


def end_after(program: Callable[[], object]) -> NoReturn:
    """Run a program to its end.

    Raises:
        SystemExit: with its exit code.
        Exception: what nobody but a programmer can mend.
    """
    _print_all()
    silence_dicom()
    gc.set_threshold(*_SELDOM)
    try:
        program()
    except SystemExit as ended:
        sys.exit(_flushed(ended.code))
    except DpcenetError as error:
        _refuse(str(error))
    except Exception as error:
        text = mendable(error) or _without_folder(error)
        if not text:
            raise
        _refuse(one_line(text))
    finally:
        gc.freeze()  # nothing is searched for garbage any more: that took over a second
    sys.exit(_flushed(0))


def _print_all() -> None:
    """Let no letter that a terminal or a file lacks end a command: its code stands there instead.

    What is redirected on Windows has the letters of one country, and none such as "³".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _without_folder(error: Exception) -> str:
    """What to do where the folder in which the command was called is deleted; "" where it is not.

    Whatever asks for it raises an error without a name.
    """
    if not isinstance(error, FileNotFoundError):
        return ""
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the current folder is not there any more; change to another one"
    return ""


def _refuse(text: str) -> NoReturn:
    _say(text)
    sys.exit(_flushed(2, say=False))


def _flushed(code: str | int | None, say: bool = True) -> str | int | None:
    """The exit code; 2 where what was printed cannot be written, which is said unless that was."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would raise once more when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            if say:
                _say(f"standard output: {error.strerror}; the work itself is done")
            return code or 2
    return code


def _say(text: str) -> None:
    """A line to standard error, unless that is closed or full too."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"dpcenet: {text}\n")
        sys.stderr.flush()
