"""The log of a training run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpcenet.errors import ConfigError
from dpcenet.system.files import disk_errors, write_text
from dpcenet.system.structured import parse_json

LOG = "log.jsonl"


class Log:
    """RUN/log.jsonl, and TensorBoard's files when asked for.

    A resumed run drops the lines after its checkpoint, so no step is logged twice.
    """

    def __init__(
        self, folder: Path, start: int, active: bool = True, tensorboard: bool = False
    ) -> None:
        self.path = folder / LOG
        self.active = active
        self.board: Any = _summary_writer(folder) if tensorboard and active else None
        self.clock = time.perf_counter()
        if active:
            keep_log(self.path, start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line: the step, its values, and the seconds since this session began."""
        line = {"step": step, **values, "seconds": round(time.perf_counter() - self.clock, 3)}
        if self.active:
            with disk_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in line.items():
                self.board.add_scalar(name, value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of RUN/log.jsonl, each with its "step"; none where there is no file.

    Damaged lines are left out: a process that was killed leaves half a one.
    """
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = parse_json(line, path, {"step": int}, finite=False)
        except ConfigError:
            continue
        found.append(row)
    return found


def keep_log(path: Path, last: int) -> None:
    """Drop the lines after a step, and what is damaged."""
    kept = [row for row in read_log(path) if row["step"] <= last]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard: install it with pip install dpcenet[tensorboard]"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
