"""How many made-up pairs a second: one process, two at once, and one with all threads."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions
from dpcenet.system.allocation import keep_freed_memory

BATCH = 16
SIZES = (64, 96, 128)
WAYS = {
    "one process, one thread": (1, 1),
    "two at once": (2, 1),
    "one process, two threads": (1, 2),
}


def generating(seconds: float) -> dict[str, Any]:
    """A row for each way: pairs a second of all processes together.

    Args:
        seconds: for which each is measured, after a first batch.
    """
    rows = [
        {"way": way} | {f"{size} pixels": _rate(*counts, size, seconds) for size in SIZES}
        for way, counts in WAYS.items()
    ]
    says = f"Pairs a second of the generator, batches of {BATCH}, {seconds:.0f} s each."
    return {"title": "Made-up pairs", "says": says, "rows": rows}


def _rate(processes: int, threads: int, size: int, seconds: float) -> float:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tasks = [(seed, threads, size, seconds) for seed in range(processes)]
        return sum(pool.map(_made, tasks))


def _made(task: tuple[int, int, int, float]) -> float:
    """Pairs a second of this process."""
    seed, threads, size, seconds = task
    keep_freed_memory()
    torch.set_num_threads(threads)
    generator = PairGenerator(seed, BATCH, PairOptions(size=size))
    generator(0)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += 1
        generator(done)
    return done * BATCH / (time.perf_counter() - start)
