"""What a run costs here: time, memory, energy."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

_CLEAR = Path("/proc/self/clear_refs")
_RAPL = Path("/sys/class/powercap")
_STATUS = Path("/proc/self/status")


class Reading(NamedTuple):
    """Seconds since a clock's start: by the wall, and of computing on all cores."""

    wall: float
    cpu: float


class Clock:
    """Starts when it is made. On a shared machine only the computing time can be compared."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Reading:
        """Seconds by now."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Reading(round(wall, 2), round(cpu, 2))


def reset_peak() -> bool:
    """Start the peak of this process's memory anew, where the system can; says whether it did."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_gb() -> float:
    """Largest resident memory of this process in GB since `reset_peak`, or since its start.

    Memory-mapped files count as far as they were touched.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def energy_joules() -> float | None:
    """What the processor's own counters have added up; None where they cannot be read.

    They count the whole processor, other people's work included, and start again at times.
    """
    try:
        counters = [int(path.read_text()) for path in _RAPL.glob("intel-rapl:?/energy_uj")]
    except (OSError, ValueError):
        return None
    return sum(counters) / 1e6 if counters else None
