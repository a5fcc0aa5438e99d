"""The end of the program: whatever happens, what a person can mend is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LETTERS = """
from dpcenet.system.program_end import end_after
end_after(lambda: print("12 mm³, 左肾, a\\udcffb"))
"""
NOWHERE = """
import os, sys
from pathlib import Path
from dpcenet.system.program_end import end_after
os.rmdir(os.getcwd())
end_after(lambda: Path("scan.nii.gz").resolve())
"""
LOST = """
from pathlib import Path
from dpcenet.system.program_end import end_after
end_after(lambda: Path("scan.nii.gz").read_bytes())
"""


def ended(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("letters", "printed"),
    [
        ("ascii", rb"12 mm\xb3, \u5de6\u80be, a\udcffb"),
        ("gbk", rb"12 mm\xb3, " + "左肾".encode("gbk") + rb", a\udcffb"),
        ("utf-8", "12 mm³, 左肾, ".encode() + rb"a\udcffb"),
    ],
)
def test_no_letter_ends_a_command(letters: str, printed: bytes, tmp_path: Path) -> None:
    done = ended(LETTERS, tmp_path, PYTHONIOENCODING=letters, PYTHONUTF8="0")
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be deleted there")
def test_a_deleted_current_folder_is_said_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = ended(NOWHERE, folder)
    said = b"dpcenet: the current folder is not there any more; change to another one\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_file_that_is_not_there_is_a_fault_of_ours(tmp_path: Path) -> None:
    """Every command looks first: one that does not is to be mended, not hidden."""
    done = ended(LOST, tmp_path)
    assert done.returncode == 1 and b"Traceback" in done.stderr


def test_nothing_is_searched_for_garbage_at_the_end(tmp_path: Path) -> None:
    program = """
import atexit, gc
from dpcenet.system.program_end import end_after
kept = [[] for _ in range(1000)]
atexit.register(lambda: print(len(gc.get_objects()) < 1000, gc.get_freeze_count() > 1000))
end_after(lambda: None)
"""
    assert ended(program, tmp_path).stdout.split() == [b"True", b"True"]
