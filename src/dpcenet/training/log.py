"""The log of a training run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from dpcenet.errors import ConfigError
from dpcenet.types import Prediction


class Log:
    """RUN/log.jsonl, and TensorBoard's files when asked for.

    A resumed run drops the lines after its checkpoint, so no step is logged twice.
    """

    def __init__(self, folder: Path, start: int, active: bool, tensorboard: bool) -> None:
        self.path = folder / "log.jsonl"
        self.active = active
        self.board: Any = _summary_writer(folder) if tensorboard and active else None
        self.clock = time.perf_counter()
        if active:
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            kept = [line for line in lines if _step_of(line) <= start]
            self.path.write_text("".join(f"{line}\n" for line in kept))

    def write(
        self, step: int, loss: Tensor, terms: dict[str, Tensor], found: Prediction, rate: float
    ) -> dict[str, float]:
        """Add a line; the values are those of this one step."""
        values = {"step": step, "loss": loss.item(), "learning_rate": rate}
        values |= {f"loss.{name}": term.item() for name, term in terms.items()}
        values |= {name: value.item() for name, value in found.diagnostics.items()}
        values["seconds"] = round(time.perf_counter() - self.clock, 3)
        if self.active:
            with self.path.open("a") as stream:
                stream.write(json.dumps(values) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
        return values


def _step_of(line: str) -> float:
    """The step of a log line; a line cut short by a kill counts as infinitely late."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return float("inf")


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard: install it with pip install dpcenet[tensorboard]"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
