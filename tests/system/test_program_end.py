"""The end of the program: one line of ours, and none of a DICOM library's."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, warnings
from dpcenet.system.program_end import end_after

def program():
    scope = {"__name__": "pydicom.valuerep", "warnings": warnings}
    exec("warnings.warn('a value breaks the standard')", scope)
    warnings.warn("a warning of ours")
    print(os.environ.get("PYTHONWARNINGS"))

end_after(program)
"""


def said(*flags: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, *flags, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )


def test_warnings_of_dicom_libraries_are_kept_back_unless_asked_for() -> None:
    plain = said()
    assert "standard" not in plain.stderr and "of ours" in plain.stderr
    assert plain.stdout == "ignore\n"
    asked = said("-W", "default")
    assert "a value breaks the standard" in asked.stderr and asked.stdout == "None\n"
