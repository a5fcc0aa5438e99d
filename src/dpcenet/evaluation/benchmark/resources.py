"""What a run costs here: time and memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Seconds(NamedTuple):
    """Times of which only differences count: by the wall, and of computing on all cores.

    On a shared machine only the computing time can be compared.
    """

    wall: float
    cpu: float

    def since(self, start: Seconds) -> Seconds:
        """How long ago `start` was, to a hundredth."""
        return Seconds(round(self.wall - start.wall, 2), round(self.cpu - start.cpu, 2))


def now() -> Seconds:
    """The time of both clocks."""
    return Seconds(time.perf_counter(), time.process_time())


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
