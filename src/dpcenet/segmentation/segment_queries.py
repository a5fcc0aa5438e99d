"""Segmenting a folder: each scan to a mask of its own, and one bad file stops no other.

While one scan is computed the next one is read. What was finished before is not done again.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import dpcenet
from dpcenet.errors import ConfigError, InputError
from dpcenet.inference.support import Support
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation import memory_cap as memory
from dpcenet.segmentation.outputs import Wanted, sizes, write_outputs
from dpcenet.segmentation.postprocess import Consistency
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.review.review_page import review_case, save_case
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import NO_SPACE, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.volumes import mask_record as ledger
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.grid import ScanFile

_DISK_FULL = (*NO_SPACE, errno.EROFS)
"""Errors of writing that every further scan would meet, too."""


@dataclass(frozen=True)
class Batch:
    """How queries are segmented.

    Attributes:
        out: folder of the results.
        wanted: what is written beside the masks.
        rules: of 3-D consistency.
        check: judge each result without its truth, for the review.
        overwrite: segment again what is finished, corrected masks too.
        keep: files that are never written over: the masks of the labelled scans.
        memory: bytes that this process may hold; None sets no bound.
    """

    out: Path
    wanted: Wanted = field(default_factory=Wanted)
    rules: Consistency = field(default_factory=Consistency)
    check: bool = False
    overwrite: bool = False
    keep: frozenset[Path] = frozenset()
    memory: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one query: a written mask, or an error.

    Attributes:
        query: its name.
        mask: where its mask lies; None where there is none.
        error: why.
        facts: of the mask, as its record has them.
        skipped: it was finished before.
        corrected: it lies there as a person left it.
        final: nothing more can be written, so this is the last one.
    """

    query: Path
    mask: Path | None
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    corrected: bool = False
    final: bool = False


@dataclass(frozen=True)
class _Work:
    """A query that has been read, and what its result will depend on."""

    query: Query
    mask: Path
    inputs: dict[str, Any]
    scan: ScanFile


def segment_files(
    segmenter: Segmenter,
    queries: Sequence[Query],
    support: Support,
    batch: Batch,
    quiet: bool = False,
) -> list[Outcome]:
    """Segment queries in this process; see `segment_each`."""
    check_targets(queries, batch)
    return collect(segment_each(segmenter, queries, support, batch), queries, batch, quiet)


def check_targets(queries: Sequence[Query], batch: Batch) -> None:
    """Refuse what must fail before anything is computed.

    Raises:
        ConfigError: two queries have one name, a file is there that this program did not write,
            or the folder cannot be written.
    """
    names = [query.name for query in queries]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{twice[0]}: two queries have this name; segment them into two folders")
    for mask in (batch.out / name for query in queries for name in query.mask_names):
        if ledger.is_foreign(mask) and mask.resolve() not in batch.keep:
            raise ConfigError(
                f"{mask}: is there already, and dpcenet did not write it; choose another --out"
            )
    try:
        write_json(batch.out / "segment.json", {"format": ledger.FORMAT, "queries": len(queries)})
    except OSError as error:
        raise ConfigError(
            f"{batch.out}: cannot be written ({error.strerror}); choose another --out"
        ) from error


def collect(
    outcomes: Iterator[Outcome], queries: Sequence[Query], batch: Batch, quiet: bool = False
) -> list[Outcome]:
    """Show the progress, and write OUT/segment.json: a row for each query, in their order."""
    found: dict[Path, Outcome] = {}
    with progress_bar("segment", len(queries), quiet=quiet) as bar:
        bar(0, "")
        for outcome in outcomes:
            found[outcome.query] = outcome
            bar(len(found), outcome.query.name)
    ordered = [found[query.name] for query in queries if query.name in found]
    rows = [
        {
            "query": str(each.query),
            "mask": None if each.mask is None else str(each.mask.relative_to(batch.out)),
            "error": each.error,
            **each.facts,
        }
        for each in ordered
    ]
    try:
        write_json(batch.out / "segment.json", {"format": ledger.FORMAT, "cases": rows})
    except OSError as error:
        if not any(each.final for each in ordered):
            raise ConfigError(f"{batch.out}/segment.json: {error.strerror}") from error
    return ordered


def segment_each(
    segmenter: Segmenter, queries: Sequence[Query], support: Support, batch: Batch
) -> Iterator[Outcome]:
    """Segment queries and write OUT/NAME_seg.* in each one's own format and geometry.

    A scan that cannot be used does not stop the others; a full disk does.

    Raises:
        ConfigError: the memory cap cannot hold one slice.
    """
    free = None if batch.memory is None else memory.free_of(batch.memory, support)
    same = _common_inputs(segmenter, support, batch)
    with ThreadPoolExecutor(1) as reader:
        # Under a cap one scan at a time: two would halve the largest one that fits.
        for read in _ahead(
            reader, partial(_read, batch=batch, same=same, free=free), queries, 1 if free else 2
        ):
            if isinstance(read, _Work):
                outcome = _attempt(segmenter, support, batch, read, free)
            else:
                outcome = read
            del read  # or it would take memory while the next one is read
            yield outcome
            if outcome.final:
                reader.shutdown(cancel_futures=True)
                return


def _ahead(
    reader: ThreadPoolExecutor,
    read: Callable[[Query], _Work | Outcome],
    queries: Sequence[Query],
    count: int,
) -> Iterator[_Work | Outcome]:
    """What `read` gives for each query, in order; `count` scans are held at a time at most."""
    waiting: deque[Future[_Work | Outcome]] = deque()
    left = iter(queries)
    for query in islice(left, count - 1):
        waiting.append(reader.submit(read, query))
    for query in left:
        waiting.append(reader.submit(read, query))
        yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _common_inputs(segmenter: Segmenter, support: Support, batch: Batch) -> dict[str, Any]:
    """What the results of all queries depend on, as JSON."""
    return {
        "support": [scan.digest for scan in support.scans],
        "labels": {str(value): support.names.get(value, "") for value in support.values},
        "preprocessing": asdict(support.rules),
        "network": hash_of_state(segmenter.predictor.method),
        "outputs": asdict(batch.wanted),
        "consistency": asdict(batch.rules),
        "check": batch.check,
        "dpcenet": dpcenet.__version__,
    }


def _read(query: Query, batch: Batch, same: dict[str, Any], free: int | None) -> _Work | Outcome:
    """Read a query, unless it is finished."""
    mask = batch.out / query.mask_name
    try:
        masks = [batch.out / name for name in query.mask_names]
        for each in masks:
            corrected = ledger.is_corrected(each) and not batch.overwrite
            if corrected or each.resolve() in batch.keep:
                return Outcome(query.name, each, skipped=True, corrected=True)
        inputs = {"query": query.digest(), **same}
        for each in masks:
            facts = ledger.finished(each, ledger.key_of(inputs))
            if facts is not None and not batch.overwrite:
                return Outcome(query.name, each, facts=facts, skipped=True)
        scan = query.read() if free is None else memory.read_under(query, free)
    except (InputError, OSError, MemoryError) as error:
        return _failed(query, error)
    return _Work(query, mask, inputs, scan)


def _attempt(
    segmenter: Segmenter, support: Support, batch: Batch, work: _Work, free: int | None
) -> Outcome:
    query, mask = work.query, work.mask
    start = time.perf_counter()
    try:
        if free is not None:
            maps = len(support.values) if batch.wanted.probability else 0
            posed = segmenter.predictor.method.pose_search is not None
            memory.check_room(work.scan, support, free, str(query.source), maps, posed)
        mask.parent.mkdir(parents=True, exist_ok=True)
        disk = (
            mask.parent if free is not None and segmenter.predictor.device.type == "cpu" else None
        )
        found = batch.rules.apply(segmenter.find(work.scan, support, disk))
        ledger.announce(mask)  # a record of an older mask must not vouch for a new one
        model = f"{type(segmenter.predictor.method).__name__} {work.inputs['network'][:12]}"
        made_by = Algorithm(dpcenet.__version__, model)
        name = query.name.name
        written, note = write_outputs(
            found, work.scan, mask, name, batch.wanted, support.names, made_by
        )
        if written[0] != mask:  # no DICOM SEG could be made
            ledger.withdraw(mask)
            mask = written[0]
        if batch.check:
            place = mask.relative_to(batch.out).as_posix()
            row = review_case(segmenter, support, found, query.name.as_posix(), place)
            save_case(batch.out, row)
        seconds = round(time.perf_counter() - start, 2)
        facts = {
            "labels": sizes(found),
            "seconds": seconds,
            "precision": segmenter.predictor.precision,
            **({"note": note} if note else {}),
        }
        ledger.write_record(mask, work.inputs, written, facts)
    except (InputError, OSError, MemoryError, torch.OutOfMemoryError) as error:
        ledger.withdraw(mask)
        return _failed(query, error)
    return Outcome(query.name, mask, facts=facts)


def _failed(query: Query, error: Exception) -> Outcome:
    """The outcome of a query that raised an error; its message names the query."""
    text, source = str(error), str(query.source)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        text = "not enough memory; crop the scan, or take fewer --jobs"
    final = isinstance(error, OSError) and error.errno in _DISK_FULL
    if final:
        text += "; free some space and run again: what is finished is kept"
    return Outcome(query.name, None, text if source in text else f"{source}: {text}", final=final)
