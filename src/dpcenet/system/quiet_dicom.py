"""Warnings of the DICOM libraries are kept back; those of all other libraries are shown."""

from __future__ import annotations

import sys
import warnings

_LIBRARIES = r"(pydicom|highdicom)\."


def silence_dicom() -> None:
    """Keep warnings of DICOM libraries back in this process; each new one calls it for itself.

    They say that an attribute breaks the standard, for each file, in two lines of Python. What
    matters of it is refused or noted in our words. `python -W` and PYTHONWARNINGS show them, also
    in the processes that a command starts. That variable cannot name all modules of a library, so
    it is no way to tell those processes.
    """
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=_LIBRARIES)
