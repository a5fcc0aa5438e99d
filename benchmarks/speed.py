"""Ours against the loops of the official code, in the same run: writes docs/speed.md.

    python benchmarks/speed.py [WORK ...] [--trunk FILE] [--runs FOLDER] [--scans FOLDER] [--resume]
    python benchmarks/speed.py --quick --out FOLDER
    python benchmarks/speed.py --table

Each work adds its row to speed.json as soon as it is measured, and speed.md is made of that file
alone: after a kill, `--resume` leaves out what was measured in the same way. `--trunk` names a
ResNet-50's weights; without it weights are random. `--runs` names a folder with trained runs of
`dpcenet train`, on whose weights and scans the predictions are then compared; without it they are
compared on made patients, with heads that nobody trained. `--scans` names a folder of CHAOS scans
(image_NN.nii.gz, label_NN.nii.gz), on which precisions, and other ways to use one labelled scan,
are compared.
`--quick` tries everything once.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from agreement import run_of, trained_agreement
from alternatives import Labelled, compare
from flatness import FLAT, flatness
from gpu import table
from kinds import KINDS
from measure import (
    Pair,
    high_water,
    in_pairs,
    machine,
    peak_memory,
)
from page import page
from precision import precisions
from works import Work

from dpcenet.evaluation.benchmark.flops import giga_operations

DOCS = Path(__file__).parents[1] / "docs"
ORGAN_SLICES = 3  # of each organ, on which predictions are compared


def main() -> None:
    """Measure what is asked for, and write the tables."""
    options = _options()
    if options.memory:
        print(json.dumps(_memory(options.works[0], options.memory, options.slices)))
        return
    results = options.out / "speed.json"
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [] if options.table else _asked(options):
        found, way = _read(results), _way(name, options)
        if options.resume and found.get(name, {}).get("way") == way:
            continue
        start = time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            row = fresh.submit(_row_of, name, options).result()
        found |= {name: {**row, "way": way}, "machine": machine()}
        results.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}, {time.perf_counter() - start:.0f} s:", json.dumps(row), flush=True)
        _write(found, options.out)
    _write(_read(results), options.out)


def _write(found: dict[str, Any], out: Path) -> None:
    """speed.md, with what `gpu.py` measured where its file lies beside it."""
    lines = page(found, [*OTHERS])
    if (out / "gpu.json").exists():
        gpu = json.loads((out / "gpu.json").read_text())
        lines += "\n".join(["", "## On a GPU", "", *table(gpu)]) + "\n"
    (out / "speed.md").write_text(lines)


def _asked(options: argparse.Namespace) -> list[str]:
    """The works to be measured; some need scans."""
    every = [name for name in (*KINDS, *OTHERS) if name not in ON_SCANS or options.scans]
    return options.works or every


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"{', '.join([*KINDS, *OTHERS])}")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--slices", type=int, help="of the volume, for all works alike")
    parser.add_argument("--trunk", help="weights of a ResNet-50")
    parser.add_argument("--runs", type=Path, help="folder of trained runs")
    parser.add_argument("--scans", type=Path, help="folder of CHAOS scans")
    parser.add_argument("--nnunet", type=float, nargs="*", help="minutes of training of nnU-Net")
    parser.add_argument("--resume", action="store_true", help="only what was not measured yet")
    parser.add_argument("--quick", action="store_true", help="one pair, three slices")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--table", action="store_true", help="only write the page again")
    parser.add_argument("--memory", choices=SIDES, help="used by the runner itself")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.slices = 1, 3
    return options


def _way(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """How a work is measured."""
    slices = options.slices or (KINDS[name].slices if name in KINDS else None)
    return {
        "pairs": options.pairs,
        "slices": slices,
        "trunk": "ImageNet" if options.trunk else "random",
        "runs": options.runs is not None,
        "threads": torch.get_num_threads(),
    }


def _row_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    slices = options.slices or 36
    if name in ON_SCANS:
        labelled, *others = (
            (options.scans / f"image_{n}.nii.gz", options.scans / f"label_{n}.nii.gz")
            for n in (CHAOS, *QUERIES)
        )
        if name == "precision":
            return precisions(labelled, others)
        return compare(Labelled(*labelled), others, options.nnunet)
    return flatness(name, options.pairs, slices) if name in FLAT else _measure(name, options)


def _read(results: Path) -> dict[str, Any]:
    """What was measured so far."""
    if not results.exists():
        return {}
    content: dict[str, Any] = json.loads(results.read_text())
    return content


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row: GFLOP, agreement, times and memory."""
    torch.manual_seed(0)
    slices = options.slices or KINDS[name].slices
    work = Work(KINDS[name], slices, options.trunk)
    row: dict[str, Any] = {
        "GFLOP": giga_operations(work.counted()),
        "slices": slices,
        "precision": work.precision,
    }
    if work.kind.task == "segment":
        # Before any agreement, which allocates much: that changed the times of the 64x64 loops by
        # a third.
        pair = segment_pair(work, [slices // 3, slices // 2], options.pairs)
        row |= _agreement(work, options.runs)
    else:
        ours, theirs, steps = work.training()
        row |= work.losses()
        ours()  # fills the bank, and whatever else is done once
        pair = in_pairs(ours, theirs, (steps, 1), options.pairs)
    sides = SIDES if name == "segment-dpcenet" else SIDES[:2]
    row["memory"] = {side: _peak(name, slices, side) for side in sides}
    return row | asdict(pair)


def _agreement(work: Work, runs: Path | None) -> dict[str, Any]:
    """Dice with the loop, of a trained run where there is one of this method."""
    run = None if runs is None else run_of(runs, work.config.method)
    if run is None:
        return work.agreement([work.slices // 2])
    return {"trained": trained_agreement(run, ORGAN_SLICES)}


def segment_pair(work: Work, places: list[int], count: int) -> Pair:
    """Seconds of a slice of a 36-slice volume; ours computes all slices, theirs one of `places`."""
    turns = iter(places * count)
    return in_pairs(
        work.segment_ours,
        lambda: work.segment_theirs([next(turns)]),
        (work.slices, 1),
        count,
        before=work.encode_support,
        share=1 / 36,
    )


def _peak(name: str, slices: int, side: str) -> float:
    return peak_memory(Path(__file__), name, "--slices", str(slices), "--memory", side)


def _memory(name: str, side: str, slices: int) -> float:
    """Peak GB of this process after one of SIDES of a work."""
    if side == "imports":
        return high_water()
    work = Work(KINDS[name], slices, calibrate=False)
    if work.kind.task == "segment" and side != "theirs":
        work.only_ours()
    if side == "weights":
        return high_water()
    if side == "trunk":
        work.encode_one()
    elif work.kind.task != "segment":
        ours, theirs, _ = work.training()
        (ours if side == "ours" else theirs)()
    elif side == "ours":
        work.encode_support()
        work.segment_ours()
    else:
        work.segment_theirs([slices // 2])
    return high_water()


SIDES = ("ours", "theirs", "imports", "weights", "trunk")
ON_SCANS = ("precision", "alternatives")
OTHERS = (*FLAT, *ON_SCANS)
CHAOS, QUERIES = "19", ("20", "21", "22", "31")  # the labelled scan, and four others


if __name__ == "__main__":
    main()
