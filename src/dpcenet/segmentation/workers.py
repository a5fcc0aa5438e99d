"""Segmenting a folder in several processes, or on a cluster, each with a network of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import cast

import torch

from dpcenet.errors import ConfigError
from dpcenet.segmentation import memory_cap as memory
from dpcenet.segmentation.labelled_input import Opening
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.segment_queries import Batch, Outcome, segment_each
from dpcenet.system.parallel import Engine, in_processes

_POLL_S = 0.2
SHARE = 4
"""Queries of a worker's turn on a cluster: opening the network takes about as long as one scan."""


@dataclass(frozen=True)
class _Share:
    """The queries of one process, and the pipe through which it tells what it has done."""

    queries: tuple[Query, ...]
    tell: Connection


def segment_shares(
    opening: Opening, queries: Sequence[Query], batch: Batch, jobs: int
) -> Iterator[Outcome]:
    """Like `segment_each`, in processes among which torch's threads and the memory are divided.

    A process that is killed costs the rest of its own queries only.

    Raises:
        ConfigError: the memory cap is used up by this process.
    """
    if batch.memory is not None:
        batch = replace(batch, memory=_memory_of_each(batch.memory, jobs))
    serve = partial(
        _serve, opening=opening, batch=batch, threads=max(1, torch.get_num_threads() // jobs)
    )
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(jobs)]
    shares = [_Share(tuple(queries[n::jobs]), pipe[1]) for n, pipe in enumerate(pipes)]
    left = {query.name: query for query in queries}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: list(in_processes(jobs)(serve, shares)))
        ears = [pipe[0] for pipe in pipes]
        while (ready := wait(ears, _POLL_S)) or not running.done():
            for ear in ready:
                outcome: Outcome = cast(Connection, ear).recv()
                left.pop(outcome.query, None)
                yield outcome
    for share in running.result():
        for query in shares[share.index].queries:
            if share.error and query.name in left:
                yield Outcome(query.name, None, f"{query.source}: {share.error}")


def segment_on(
    engine: Engine, opening: Opening, queries: Sequence[Query], batch: Batch, threads: int
) -> Iterator[Outcome]:
    """Like `segment_each`, a few queries at a time, wherever the engine has room.

    Args:
        engine: of `dpcenet.system.parallel`. Every worker must find the files under the same paths.
        opening, queries, batch: what is segmented, and how.
        threads: of torch in a worker.
    """
    shares = [tuple(queries[start : start + SHARE]) for start in range(0, len(queries), SHARE)]
    work = partial(_segment_share, opening=opening, batch=batch, threads=threads)
    for done in engine(work, shares):
        if done.error:
            for query in shares[done.index]:
                yield Outcome(query.name, None, f"{query.source}: {done.error}")
        yield from done.result or ()


def _segment_share(
    queries: Sequence[Query], opening: Opening, batch: Batch, threads: int
) -> list[Outcome]:
    """What a worker does with a few queries."""
    torch.set_num_threads(threads)
    segmenter, support = opening.open()
    return list(segment_each(segmenter, queries, support, batch))


def _serve(share: _Share, opening: Opening, batch: Batch, threads: int) -> None:
    """What one process does."""
    torch.set_num_threads(threads)
    segmenter, support = opening.open()
    for outcome in segment_each(segmenter, share.queries, support, batch):
        share.tell.send(outcome)


def _memory_of_each(cap: int, jobs: int) -> int:
    each = (cap - memory.peak()) // jobs
    if each <= 0:
        taken = memory.peak() / 1e9
        raise ConfigError(f"--memory: {taken:.1f} GB are taken before the first scan; give more")
    return each
