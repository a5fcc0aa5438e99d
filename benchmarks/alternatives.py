"""What a person with one labelled scan may do instead: Dice and minutes on the same scans.

    python benchmarks/alternatives.py --support SCAN --mask LABELS
        --query SCAN --truth LABELS [--query … --truth …] [--nnunet 10] [--json FILE]

Ours is the whole command `dpcenet segment` with its check; `register` registers the labelled scan
with each query in 3-D (SimpleITK); `--nnunet` trains nnU-Net v2 on the one labelled scan for so
many minutes, where its package is installed, and is skipped with the reason where it is not. All
compute with as many threads, one after the other; minutes are of the clock, and of the processor.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from measure import label_dices
from page import section

from dpcenet.volumes.geometry import on_grid, orient
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.registration import RegistrationOptions, carry_labels


@dataclass(frozen=True)
class Labelled:
    """The one labelled scan, and its labels."""

    scan: Path
    labels: Path


Labels = npt.NDArray[Any]
Way = Callable[[Path], Sequence[Labels]]
"""Labels (Z, Y, X) of each query, in the order of its file; files go into a folder."""


def main(
    support: Annotated[Path, typer.Option()],
    mask: Annotated[Path, typer.Option()],
    query: Annotated[list[Path], typer.Option()],
    truth: Annotated[list[Path], typer.Option()],
    nnunet: Annotated[list[float] | None, typer.Option(help="Minutes of training.")] = None,
    threads: int = 2,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print the table, and write it."""
    found = compare(Labelled(support, mask), list(zip(query, truth, strict=True)), nnunet, threads)
    print("\n".join(section(found["says"], found["rows"])))
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


def compare(
    labelled: Labelled,
    queries: Sequence[tuple[Path, Path]],
    nnunet: Sequence[float] | None = None,
    threads: int = 2,
) -> dict[str, Any]:
    """The table: its title, what it says, and a row for each way.

    Args:
        labelled: the one labelled scan.
        queries: scans and their true labels.
        nnunet: minutes of training of nnU-Net, a row for each.
        threads: with which all compute.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    scans, truths = [scan for scan, _ in queries], [truth for _, truth in queries]
    ways: dict[str, Way] = {
        "dpcenet segment": lambda out: ours(labelled, scans, out),
        "register": lambda _: registered(labelled, scans, threads),
    }
    for minutes in nnunet or ():
        name = f"nnU-Net v2, trained for {minutes:g} min"
        ways[name] = lambda out, minutes=minutes: trained(labelled, scans, minutes, out)
    rows: list[dict[str, Any]] = []
    for name, way in ways.items():
        if name.startswith("nnU-Net") and find_spec("nnunetv2") is None:
            rows.append({"way": name, "Dice": "skipped: nnunetv2 is not installed"})
        else:
            rows.append({"way": name, **measured(way, truths)})
    says = (
        f"One labelled scan ({labelled.scan.name}), {len(queries)} others, {threads} threads, one "
        "way after the other. Dice is the mean of the labels; the time is that of all scans, of "
        "ours with its start and its check, of nnU-Net with its training."
    )
    return {"title": "What else one labelled scan can do", "says": says, "rows": rows}


def measured(way: Way, truths: Sequence[Path]) -> dict[str, Any]:
    """Mean Dice of the labels of each query, and the time of all queries together."""
    start, cpu = time.perf_counter(), _processor()
    with tempfile.TemporaryDirectory() as folder:
        found = way(Path(folder))
    minutes, cpu_minutes = (time.perf_counter() - start) / 60, (_processor() - cpu) / 60
    each = [
        fmean(label_dices(one, read_volume(path).volume.data))
        for one, path in zip(found, truths, strict=True)
    ]
    return {
        "Dice": fmean(each),
        "each scan": ", ".join(f"{one:.3f}" for one in each),
        "minutes": minutes,
        "CPU minutes": cpu_minutes,
    }


def _processor() -> float:
    """Seconds of processor time of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def ours(labelled: Labelled, queries: Sequence[Path], out: Path) -> list[Labels]:
    """`dpcenet segment`, its start and its check included."""
    command = [sys.executable, "-m", "dpcenet", "segment", *queries, "--out", out]
    command += ["--support-image", labelled.scan, "--support-mask", labelled.labels]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    names = [path.name.removesuffix(".gz").removesuffix(".nii") for path in queries]
    return [read_volume(out / f"{name}_seg.nii.gz").volume.data for name in names]


def registered(labelled: Labelled, queries: Sequence[Path], threads: int) -> list[Labels]:
    """The labelled scan's labels, carried over by registering it with each query."""
    image = read_volume(labelled.scan).volume
    labels = on_grid(read_volume(labelled.labels).volume, image, labelled.labels)
    moving, _ = orient(image)
    drawn, _ = orient(labels, moving.affine)
    found = []
    for path in queries:
        fixed, orientation = orient(read_volume(path).volume, moving.affine)
        carried = carry_labels(
            drawn.data.astype(np.int16),
            moving.data.astype(np.float32),
            fixed.data.astype(np.float32),
            (moving.spacing, fixed.spacing),
            RegistrationOptions(threads=threads),
        )
        found.append(orientation.invert(carried))
    return found


def trained(labelled: Labelled, queries: Sequence[Path], minutes: float, out: Path) -> list[Labels]:
    """nnU-Net v2, trained on the labelled scan alone."""
    script = Path(__file__).with_name("nnunet_once.py")
    command = [sys.executable, script, out, minutes, labelled.scan, labelled.labels, *queries]
    subprocess.run([*map(str, command)], check=True)
    return [read_volume(out / "found" / f"{n}.nii.gz").volume.data for n in range(len(queries))]


if __name__ == "__main__":
    typer.run(main)
