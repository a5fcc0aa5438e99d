"""File locks between processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpcenet.system.lock import Held, held

PROGRAM = (
    "import sys; from pathlib import Path\n"
    "from dpcenet.system.lock import held\n"
    "with held(Path(sys.argv[1]), note='the first one', remove=True):\n"
    "    print('have it', flush=True); sys.stdin.readline()"
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock until it is sent a line, or killed."""
    command = [sys.executable, "-c", PROGRAM, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"have it\n"
        yield process
        process.kill()


def test_a_second_process_is_told_by_whom_it_is_held(
    lock: Path, other: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(Held) as error, held(lock):
        pass
    assert error.value.by == "the first one"
    assert lock.read_text() == "the first one", "who is refused writes nothing"
    other.kill()
    other.wait()
    with held(lock, note="me"):
        assert lock.read_text() == "me"
    assert lock.is_file()


def test_who_waits_gets_it_when_it_is_let_go(lock: Path, other: subprocess.Popen[bytes]) -> None:
    """The first one deletes the file: who waited must not hold the deleted one."""
    got = threading.Event()

    def wait() -> None:
        with held(lock, wait=True, note="second"):
            got.set()
            assert lock.read_text() == "second"

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.3)
    assert other.stdin is not None
    other.stdin.write(b"\n")
    other.stdin.flush()
    assert got.wait(20)
    thread.join()


def test_the_file_goes_when_asked_to(lock: Path) -> None:
    with held(lock, remove=True):
        assert lock.is_file()
    assert not lock.exists()
