"""A running `dpcenet app`, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Served:
    """A running `dpcenet app`."""

    process: subprocess.Popen[str]
    address: str
    folder: Path
    root: Path

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    @property
    def base(self) -> str:
        return self.address.partition("/?")[0]

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """As a crash would, with nothing said before."""
        self.process.kill()
        self.process.wait()


def serve(folder: Path, root: Path, *flags: str) -> Served:
    """Start the command as a person does, and wait until it says its address."""
    command = [sys.executable, "-m", "dpcenet", "app", str(folder), "--project", str(root)]
    process = subprocess.Popen(
        [*command, "--no-browser", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("http://"):
        with process.stdout:
            line += process.stdout.read()
        process.wait()
        raise AssertionError(line)
    served = Served(process, line.strip(), folder, root)
    wait_for(lambda: answers(served), "the server to answer")
    return served


def answers(served: Served) -> bool:
    request = urllib.request.Request(
        f"{served.base}/api/project", headers={"Authorization": f"Bearer {served.token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(done: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


Start = Callable[..., Served]


def ask(
    served: Served, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Any:
    """The JSON answer of a call."""
    known = {"Authorization": f"Bearer {served.token}", "X-Tab": "test", **headers}
    request = urllib.request.Request(f"{served.base}{path}", body, known, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")
