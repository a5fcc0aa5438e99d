"""Segmenting a folder in several processes, or on a cluster, each with a network of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import cast

import torch

from dpcenet.errors import ConfigError
from dpcenet.segmentation import memory_cap
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segment_queries import segment_each
from dpcenet.system.parallel import Engine, in_processes

_POLL_S = 0.2
SHARE = 4
"""Queries that a cluster's worker gets at a time: loading the network takes as long as one scan."""


@dataclass(frozen=True)
class _Share:
    """The queries of one process, and the pipe by which it sends its outcomes."""

    queries: tuple[Query, ...]
    sender: Connection


def segment_shares(
    labelled: LabelledInput, queries: Sequence[Query], options: SegmentOptions, jobs: int
) -> Iterator[Outcome]:
    """Like `segment_each`, in several processes, which share torch's threads and the memory.

    If a process is killed, only the rest of its own queries is missing.

    Raises:
        ConfigError: this process alone has reached the memory cap.
    """
    if options.memory is not None:
        options = replace(options, memory=_memory_of_each(options.memory, jobs))
    serve = partial(
        _serve,
        labelled=labelled,
        options=options,
        threads=max(1, torch.get_num_threads() // jobs),
    )
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(jobs)]
    shares = [_Share(tuple(queries[n::jobs]), pipe[1]) for n, pipe in enumerate(pipes)]
    left = {query.name: query for query in queries}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: list(in_processes(jobs)(serve, shares)))
        receivers = [pipe[0] for pipe in pipes]
        while (ready := wait(receivers, _POLL_S)) or not running.done():
            for receiver in ready:
                outcome: Outcome = cast(Connection, receiver).recv()
                left.pop(outcome.query, None)
                yield outcome
    for share in running.result():
        for query in shares[share.index].queries:
            if share.error and query.name in left:
                yield Outcome(query.name, None, f"{query.source}: {share.error}")


def segment_on(
    engine: Engine,
    labelled: LabelledInput,
    queries: Sequence[Query],
    options: SegmentOptions,
    threads: int,
) -> Iterator[Outcome]:
    """Like `segment_each`, a few queries at a time, wherever the engine has room.

    Args:
        engine: of `dpcenet.system.parallel`. Every worker must find the files under the same paths.
        labelled, queries, options: what is segmented, and how.
        threads: of torch in a worker.
    """
    shares = [tuple(queries[start : start + SHARE]) for start in range(0, len(queries), SHARE)]
    work = partial(_segment_share, labelled=labelled, options=options, threads=threads)
    for done in engine(work, shares):
        if done.error:
            for query in shares[done.index]:
                yield Outcome(query.name, None, f"{query.source}: {done.error}")
        yield from done.result or ()


def _segment_share(
    queries: Sequence[Query], labelled: LabelledInput, options: SegmentOptions, threads: int
) -> list[Outcome]:
    """What a worker of a cluster does with a few queries."""
    return list(_segment_here(queries, labelled, options, threads))


def _serve(share: _Share, labelled: LabelledInput, options: SegmentOptions, threads: int) -> None:
    """What one process of this machine does; Ctrl-C ends it without a traceback of its own."""
    with suppress(KeyboardInterrupt):
        for outcome in _segment_here(share.queries, labelled, options, threads):
            share.sender.send(outcome)


def _segment_here(
    queries: Sequence[Query], labelled: LabelledInput, options: SegmentOptions, threads: int
) -> Iterator[Outcome]:
    """`segment_each` with a network of this process's own."""
    torch.set_num_threads(threads)
    segmenter, support = labelled.open()
    yield from segment_each(segmenter, queries, support, options)


def _memory_of_each(cap: int, jobs: int) -> int:
    each = (cap - memory_cap.peak()) // jobs
    if each <= 0:
        taken = memory_cap.peak() / 1e9
        raise ConfigError(f"--memory: {taken:.1f} GB are taken before the first scan; give more")
    return each
