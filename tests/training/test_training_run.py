"""When a training logs, checks, saves and stops, whatever it trains."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dpcenet.training import training_run
from dpcenet.training.training_run import Pace, TrainingRun


class Counting(TrainingRun[int]):
    """Learns nothing; notes what is done after which step, and which batch a step got."""

    def __init__(self, steps: int, step: int = 0) -> None:
        self.steps, self.step = steps, step
        self.learnt: list[int] = []
        self.done: list[tuple[str, int]] = []

    def batches(self) -> Iterator[int]:
        return iter(range(self.step, self.steps))

    def learn(self, batch: int) -> None:
        self.learnt.append(batch)
        self.step += 1

    def write_log(self) -> None:
        self.done.append(("log", self.step))

    def check(self) -> None:
        self.done.append(("check", self.step))

    def save(self) -> None:
        self.done.append(("save", self.step))

    def steps_of(self, what: str) -> list[int]:
        return [step for kind, step in self.done if kind == what]


def test_each_thing_is_done_at_its_steps_and_after_the_last() -> None:
    run = Counting(7)
    run.go(Pace(log_every=2, save_every=5, check_every=3))
    assert run.learnt == list(range(7))
    assert run.steps_of("log") == [2, 4, 6, 7]
    assert run.steps_of("check") == [3, 6, 7]
    assert run.steps_of("save") == [5, 7]


def test_a_checkpoint_holds_the_check_and_the_log_of_its_step() -> None:
    run = Counting(2)
    run.go(Pace(log_every=1, save_every=1, check_every=1))
    assert [kind for kind, _ in run.done] == ["log", "check", "save"] * 2


def test_without_checks_none_is_made() -> None:
    run = Counting(4)
    run.go(Pace(log_every=1, save_every=2))
    assert run.steps_of("check") == []


def test_it_goes_on_from_its_step_and_a_finished_one_does_nothing() -> None:
    run = Counting(5, step=3)
    run.go(Pace(save_every=10))
    assert run.learnt == [3, 4]
    assert run.steps_of("save") == [5]
    run.done.clear()
    run.go(Pace(save_every=10))
    assert not run.done


def test_it_stops_with_a_checkpoint_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 50.0, 119.0, 121.0, 180.0])
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr(training_run, "time", clock)
    run = Counting(100)
    run.go(Pace(log_every=50, save_every=50, check_every=50, minutes=2))
    assert run.done == [("log", 3), ("check", 3), ("save", 3)]


def test_what_interrupts_a_step_leaves_the_run_at_the_step_before() -> None:
    run = Counting(9)

    def interrupted(batch: int) -> None:
        if batch == 4:
            raise KeyboardInterrupt
        Counting.learn(run, batch)

    run.learn = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.go(Pace(log_every=1, save_every=2))
    assert run.steps_of("save") == [2, 4]
    assert run.step == 4
