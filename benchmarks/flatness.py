"""Whether a long scan costs more per slice, many scans more memory; what a very long one takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import high_water, timed

from dpcenet import Segmenter, Volume
from dpcenet.__main__ import main
from dpcenet.data.phantom.phantom import phantom, write_phantoms
from dpcenet.system.large_arrays import blocks, room_for
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import SourceGrid

FLAT = ("flat-slices", "flat-volumes", "flat-long")
LONG = (1000, 512, 512)


def flatness(name: str, rounds: int, slices: int) -> dict[str, Any]:
    """The shipped network: seconds per slice of two lengths, peak GB of 1 and 20 scans, or both of
    the whole command on one of 512 x 512 x 1000.

    Args:
        name: one of FLAT.
        rounds: how often each length is timed.
        slices: of a scan; the long one has ten times as many.
    """
    if name == "flat-long":
        return _long(LONG if slices >= 36 else (40, 128, 128))
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


def _long(shape: tuple[int, int, int]) -> dict[str, Any]:
    found: dict[str, float] = _said("long", *map(str, shape))
    z, y, x = shape
    says = (
        f"`dpcenet segment` with its check on one made scan of {z} slices of {y} x {x} whole "
        "numbers (uncompressed NIfTI), from one labelled scan of 36 slices: the whole program."
    )
    return {"title": "A very long scan", "says": says, "rows": [{"slices": z, **found}]}


def _segment_long(*shape: int) -> dict[str, float]:
    """Minutes and peak GB of this process, which does it all."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ((image, label),) = write_phantoms(place, 1, shape=(36, 128, 128), spacing=(6.0, 2.5, 2.5))
        long = write_long(place / "long.nii", shape)
        sys.argv = ["dpcenet", "segment", str(long), "--out", str(place / "out")]
        sys.argv += ["--support-image", str(image), "--support-mask", str(label)]
        minutes, cpu = (seconds / 60 for seconds in timed(_command))
        rows = json.loads((place / "out" / "segment.json").read_text())["cases"][0]["labels"]
        labels = sum(1 for row in rows.values() if row["voxels"])
    return {"labels found": labels, "minutes": minutes, "CPU minutes": cpu, "peak GB": high_water()}


def _command() -> None:
    """The command line, which ends by an exit."""
    with suppress(SystemExit):
        main()


def write_long(path: Path, shape: tuple[int, ...]) -> Path:
    """One patient in many thin slices of whole numbers, written slice by slice."""
    side, grow = 128, shape[1] // 128
    image = phantom(2, (shape[0], side, side), (216.0 / shape[0], 2.5, 2.5))[0]
    affine = image.affine @ np.diag([1, 1 / grow, 1 / grow, 1])
    data = room_for((shape[0], side * grow, side * grow), np.int16)
    for part in blocks(data):
        few = np.round(image.data[part]).astype(np.int16)
        data[part] = few.repeat(grow, axis=1).repeat(grow, axis=2)
    write_nifti(data, path, SourceGrid.of(Volume(data, affine)))
    return path


def _peak(scans: int, slices: int) -> float:
    return float(_said(str(scans), str(slices)))


def _said(*arguments: str) -> Any:
    """What this file prints as its last line, in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _segment(scans: int, slices: int) -> float:
    segmenter = Segmenter.shipped("cpu")
    support = segmenter.support(*phantom(1, (slices, 160, 160)))
    for seed in range(scans):
        mask = segmenter.segment(phantom(seed + 2, (slices, 160, 160))[0], support)
        assert np.issubdtype(mask.data.dtype, np.integer)
    return high_water()


if __name__ == "__main__":
    if sys.argv[1] == "long":
        print(json.dumps(_segment_long(*map(int, sys.argv[2:]))))
    else:
        print(json.dumps(_segment(int(sys.argv[1]), int(sys.argv[2]))))
