"""Whether a long scan costs more per slice, and many scans more memory."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

import numpy as np
from measure import high_water, timed

from dpcenet import Segmenter, Volume
from dpcenet.data.phantom.phantom import phantom

FLAT = ("flat-slices", "flat-volumes")


def flatness(name: str, rounds: int, slices: int) -> dict[str, Any]:
    """The shipped network: seconds per slice of two lengths, or peak GB of 1 and 20 scans.

    Args:
        name: one of FLAT.
        rounds: how often each length is timed.
        slices: of a scan; the long one has ten times as many.
    """
    return _slices(rounds, slices) if name == "flat-slices" else _volumes(slices)


def _slices(rounds: int, short: int) -> dict[str, Any]:
    segmenter = Segmenter.shipped("cpu")
    support = segmenter.support(*phantom(1, (short, 160, 160)))
    scans = {n: _stretched(n, short) for n in (short, 10 * short)}
    times: dict[int, list[tuple[float, float]]] = {n: [] for n in scans}
    for _ in range(rounds):
        for count, scan in scans.items():
            times[count].append(timed(lambda scan=scan: segmenter.segment(scan, support)))
    rows = [
        {
            "slices": n,
            "ms per slice": 1000 * median(t[0] for t in times[n]) / n,
            "CPU ms per slice": 1000 * median(t[1] for t in times[n]) / n,
        }
        for n in scans
    ]
    says = f"The shipped network, every organ of a phantom; medians of {rounds} turns."
    return {"title": "Long scans", "says": says, "rows": rows}


def _stretched(slices: int, short: int) -> Volume:
    """One patient in more, thinner slices: the same share of them shows each organ."""
    return phantom(2, (slices, 160, 160), (6.0 * short / slices, 1.5, 1.5))[0]


def _volumes(slices: int) -> dict[str, Any]:
    rows = [{"scans": n, "peak GB": _peak(n, slices)} for n in (1, 4, 20)]
    says = (
        f"The shipped network, different scans of {slices} slices one after the other, each row in "
        "a process of its own. Patients differ in what they need; what one leaves behind would "
        "show from 4 to 20."
    )
    return {"title": "Many scans", "says": says, "rows": rows}


def _peak(scans: int, slices: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, str(scans), str(slices)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _segment(scans: int, slices: int) -> float:
    segmenter = Segmenter.shipped("cpu")
    support = segmenter.support(*phantom(1, (slices, 160, 160)))
    for seed in range(scans):
        mask = segmenter.segment(phantom(seed + 2, (slices, 160, 160))[0], support)
        assert np.issubdtype(mask.data.dtype, np.integer)
    return high_water()


if __name__ == "__main__":
    print(json.dumps(_segment(int(sys.argv[1]), int(sys.argv[2]))))
