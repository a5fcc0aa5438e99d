"""How a program ends: what a person can mend is one line on standard error, and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from dpcenet.errors import DpcenetError, one_line
from dpcenet.system.faults import mendable


def end_after(program: Callable[[], object]) -> NoReturn:
    """Run a program to its end.

    Raises:
        SystemExit: with its exit code.
        Exception: what nobody but a programmer can mend.
    """
    try:
        _silence_dicom()
        program()
    except SystemExit as ended:
        sys.exit(_flushed(ended.code))
    except DpcenetError as error:
        _refuse(str(error))
    except Exception as error:
        text = mendable(error)
        if not text:
            raise
        _refuse(one_line(text))
    sys.exit(_flushed(0))


def _silence_dicom() -> None:
    """Keep warnings of DICOM libraries back, also in processes that are started later.

    They say that an attribute breaks the standard, for each file, in two lines of Python. What
    matters of it is refused or noted in our words. `python -W` and PYTHONWARNINGS show them.
    """
    if sys.warnoptions:
        return
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\.")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")


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
