"""Warnings of DICOM libraries are kept back in every process of a command, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from dpcenet.data.prepare import _each
from dpcenet.system.parallel import in_processes
from dpcenet.system.program_end import end_after


def warn(where):
    for module in ("pydicom.valuerep", "highdicom.seg.sop", "another.library"):
        scope = {"__name__": module, "warnings": warnings}
        exec(f"warnings.warn('{module} in {where}')", scope)


class Case:
    @property
    def name(self):
        warn("a pool")
        raise RuntimeError("out of memory")


def program():
    warn("the command")
    assert not [done.error for done in in_processes(1)(warn, ["a process"]) if done.error]
    assert all(error for _, error in _each([Case(), Case()], Path("out"), None, 2))


if __name__ == "__main__":
    end_after(program)
"""
PLACES = ("the command", "a process", "a pool")


def warnings_of(program: Path, *flags: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    command = [sys.executable, *flags, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_warnings_of_dicom_libraries_are_kept_back_unless_asked_for(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    plain, asked = warnings_of(program), warnings_of(program, "-W", "default")
    for place in PLACES:
        assert f"another.library in {place}" in plain
        assert f"pydicom.valuerep in {place}" not in plain
        assert f"highdicom.seg.sop in {place}" not in plain
        assert f"pydicom.valuerep in {place}" in asked
