"""Engines: all results arrive, failures stay with their item."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dpcenet.system.parallel import Engine, in_processes, in_turn


def square(number: int) -> int:
    """Fails on 3; 5 is killed from outside."""
    if number == 3:
        raise ValueError("three")
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("engine", [in_turn, in_processes(2)])
def test_a_failing_item_fails_alone(engine: Engine) -> None:
    outcomes = {outcome.index: outcome for outcome in engine(square, [2, 3, 4])}
    assert [outcomes[i].result for i in range(3)] == [4, None, 16]
    assert outcomes[1].error == "ValueError: three" and not outcomes[0].error


def test_a_killed_process_takes_only_its_item() -> None:
    outcomes = {outcome.index: outcome for outcome in in_processes(2)(square, [5, 6])}
    assert "ended by itself (exit code -9)" in outcomes[0].error
    assert outcomes[1].result == 36


def note_pid(folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    return os.getpid()


def test_every_item_has_a_fresh_process(tmp_path: Path) -> None:
    pids = {outcome.result for outcome in in_processes(1)(note_pid, [tmp_path] * 2)}
    assert len(pids) == 2 and os.getpid() not in pids
