"""Times in pairs, and peak memory in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.system.environment import processor
from dpcenet.volumes.metrics import dice

Call = Callable[[], Any]


@dataclass(frozen=True)
class Pair:
    """Ours against theirs, medians over pairs taken in turn.

    Attributes:
        ours, theirs: seconds of one unit (a slice, a step) by the clock.
        ratio: median of theirs / ours of each pair, by the clock.
        low, high: smallest and largest of those.
        cpu_ratio: the same by processor time, which other work on the machine disturbs less.
        count: pairs.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    cpu_ratio: float
    count: int


def in_pairs(
    ours: Call,
    theirs: Call,
    units: tuple[float, float],
    count: int,
    before: Call | None = None,
    share: float = 0.0,
) -> Pair:
    """Time two calls in turn.

    Args:
        ours, theirs: the calls.
        units: how many slices or steps each does.
        count: pairs.
        before: what ours does once for many units; `share` of it belongs to each unit.
        share: of `before`.
    """
    times = []
    for _ in range(count):
        once = timed(before) if before else (0.0, 0.0)
        mine = [t / units[0] + share * o for t, o in zip(timed(ours), once, strict=True)]
        times.append((mine, [t / units[1] for t in timed(theirs)]))
    wall = [b[0] / a[0] for a, b in times]
    return Pair(
        median(a[0] for a, _ in times),
        median(b[0] for _, b in times),
        median(wall),
        min(wall),
        max(wall),
        median(b[1] / a[1] for a, b in times),
        count,
    )


def timed(call: Call) -> tuple[float, float]:
    """Seconds of a call by the clock and by processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_memory(script: Path, *arguments: str) -> float:
    """GB that a fresh process needed at most; it prints them as its last line."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments], check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def high_water() -> float:
    """Peak GB of this process. (ru_maxrss would start from what the calling process held.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def machine() -> dict[str, str | int]:
    """Processor, threads, and torch."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def label_dices(found: npt.NDArray[Any], true: npt.NDArray[Any]) -> list[float]:
    """Dice of each label of the second of two label maps."""
    return [dice(found == value, true == value) for value in np.unique(true) if value]
