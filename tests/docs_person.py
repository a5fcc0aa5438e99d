"""A person who types the commands of a page in a folder of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs_pages import shorter
from documents import ROOT
from dpcenet.__main__ import main

SHIM = """#!{python}
import sys
sys.path.insert(0, {tests!r})
from docs_pages import shorter
sys.argv += shorter("dpcenet " + " ".join(sys.argv[1:])).split()
from dpcenet.__main__ import main
main()
"""


class Person:
    """Types commands in a folder, one after the other."""

    def __init__(self, folder: Path, given: dict[str, object], ends: ExitStack) -> None:
        self.folder, self.names, self.ends = folder, given, ends
        self.address = ""
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        shim = programs / "dpcenet"
        shim.write_text(SHIM.format(python=sys.executable, tests=str(ROOT / "tests")))
        shim.chmod(0o755)
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        (folder / ".venv" / ".installed").touch()
        source = folder / "src" if (folder / "src").is_dir() else ROOT / "src"
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(source),
            "HOME": str(folder),  # where `dpcenet app` keeps projects
            "BROWSER": "true",  # the program that "opens" the page
            "PYTHONUNBUFFERED": "1",
            "FOLDS": "0",
            "OMP_NUM_THREADS": "1",
        }

    def run_python(self, code: str) -> None:
        """Run a block in Python; later blocks know its names."""
        exec(code, self.names)

    def type(self, line: str) -> None:
        """Run a command, which must succeed."""
        if line.startswith("dpcenet app "):
            self._open_the_page(line)
        elif line.startswith("dpcenet "):
            self._run_here(shlex.split(f"{line} {shorter(line)}", comments=True))
        else:
            self._run_in_the_shell(
                f"{line} {shorter(line)}".replace("ADDRESS", f"'{self.address}'")
            )

    def _run_here(self, words: list[str]) -> None:
        """Run dpcenet in this process: its start takes longer than its work."""
        sys.argv = words
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, words

    def _run_in_the_shell(self, line: str) -> None:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"

    def _open_the_page(self, line: str) -> None:
        """Start the server and look at its page; it ends when the page is done."""
        process = subprocess.Popen(
            shlex.split(line),
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ends.callback(self._end, process)
        assert process.stdout is not None
        self.address = next(text for text in process.stdout if "http://" in text).strip()
        assert b"dpcenet" in page_at(self.address)

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.communicate(timeout=60)


def page_at(address: str) -> bytes:
    """What a server answers; it says its address just before it listens."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    end = time.monotonic() + 60
    while True:
        try:
            with browser.open(address, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.05)
