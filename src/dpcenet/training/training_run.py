"""The loop that `train` and `pretrain` share: a training that may be killed at any moment.

Called again, it goes on from its checkpoint to the same losses. For that, the batch of a step is a
function of the seed and the step alone, and a checkpoint holds everything that a step changes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Pace:
    """When a training writes and when it stops; nothing here changes the weights.

    The last step is always logged, checked and saved.

    Attributes:
        log_every: steps between lines of the log.
        save_every: steps between checkpoints.
        check_every: steps between checks of the training; 0 leaves them out.
        minutes: stop with a checkpoint after that long; None goes on to the last step.
    """

    log_every: int = 20
    save_every: int = 250
    check_every: int = 0
    minutes: float | None = None


class TrainingRun(ABC, Generic[Batch]):
    """A training between two steps.

    Attributes:
        steps: how many there are in all.
        step: how many are done.
    """

    steps: int
    step: int

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """The batches of the steps that are still to be done, made one at a time."""

    @abstractmethod
    def learn(self, batch: Batch) -> None:
        """Do one optimiser step, and count it in `step`."""

    @abstractmethod
    def write_log(self) -> None:
        """Add a line to the log."""

    @abstractmethod
    def check(self) -> None:
        """Measure how good the weights are, on data that is not trained on."""

    @abstractmethod
    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""

    def go(self, pace: Pace) -> None:
        """Do the steps that are left, or as many as there is time for."""
        began, batches = time.monotonic(), self.batches()
        while self.step < self.steps:
            self.learn(next(batches))
            minutes = (time.monotonic() - began) / 60
            over = pace.minutes is not None and minutes > pace.minutes
            last = over or self.step == self.steps
            if last or self.step % pace.log_every == 0:
                self.write_log()
            if pace.check_every and (last or self.step % pace.check_every == 0):
                self.check()
            if last or self.step % pace.save_every == 0:
                self.save()
            if over:
                return
