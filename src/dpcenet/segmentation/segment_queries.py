"""One scan after the other: read, segment, write, record. One bad file stops no other.

While one scan is segmented the next one is read. What was finished before is not done again.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import dpcenet
from dpcenet.errors import InputError, NotAScanError, VolumeError, one_line
from dpcenet.inference.support import Support
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation import memory_cap
from dpcenet.segmentation.mismatch import mismatches
from dpcenet.segmentation.outputs import made_by_network, statistics_of, write_outputs
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.reviewed_case import (
    case_path,
    read_case,
    review_case,
    save_case,
)
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.faults import NO_SPACE, mendable, out_of_memory
from dpcenet.volumes import mask_record
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.modality import intensity_doubts
from dpcenet.volumes.same_scan import ScanIdentity
from dpcenet.volumes.scan_file import AS_IT_IS, Labels, ScanFile

_DISK_FULL = (*NO_SPACE, errno.EROFS)
"""Errors that every later scan would meet too."""
CAUGHT = (InputError, OSError, MemoryError, RuntimeError)
"""What stops one scan; of RuntimeError only that memory ran out, as torch says it."""


@dataclass(frozen=True)
class _ReadQuery:
    """A query that has been read, and everything its result depends on."""

    query: Query
    mask: Path
    inputs: dict[str, Any]
    scan: ScanFile


def segment_each(
    segmenter: Segmenter, queries: Sequence[Query], support: Support, options: SegmentOptions
) -> Iterator[Outcome]:
    """Segment queries and write OUT/NAME_seg.* in each one's own format and geometry.

    A scan that cannot be used does not stop the others; a full disk does.

    Raises:
        ConfigError: one slice needs more memory than the cap allows.
    """
    free = None if options.memory is None else memory_cap.free_of(options.memory, support)
    common = _common_inputs(segmenter, support, options)
    known = () if options.copies else support.sources
    read = partial(_read, options=options, common=common, free=free, known=known)
    with ThreadPoolExecutor(1) as reader:
        # Under a cap one scan at a time: two would halve the largest one that fits.
        for each in _read_ahead(reader, read, queries, 1 if free else 2):
            if isinstance(each, Outcome):
                outcome = each
            else:
                outcome = _segment_one(segmenter, support, options, each, free)
            del each  # or it would take memory while the next one is read
            yield outcome
            if outcome.final:
                reader.shutdown(cancel_futures=True)
                return


def _read_ahead(
    reader: ThreadPoolExecutor,
    read: Callable[[Query], _ReadQuery | Outcome],
    queries: Sequence[Query],
    count: int,
) -> Iterator[_ReadQuery | Outcome]:
    """What `read` gives for each query, in order; at most `count` scans are held at a time."""
    waiting: deque[Future[_ReadQuery | Outcome]] = deque()
    left = iter(queries)
    for query in islice(left, count - 1):
        waiting.append(reader.submit(read, query))
    for query in left:
        waiting.append(reader.submit(read, query))
        yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _common_inputs(
    segmenter: Segmenter, support: Support, options: SegmentOptions
) -> dict[str, Any]:
    """What the results of all queries depend on, as JSON."""
    learnt = segmenter.learnt
    return {
        "support": [scan.digest for scan in support.scans],
        "labels": {str(value): support.names.get(value, "") for value in support.values},
        **(
            {"codes": {str(v): asdict(c) for v, c in support.codes.items()}}
            if support.codes
            else {}
        ),
        "preprocessing": asdict(support.rules),
        "network": hash_of_state(segmenter.predictor.method),
        "outputs": asdict(options.outputs),
        "consistency": asdict(options.consistency),
        "check": options.check,
        "fast": not segmenter.predictor.second_look,
        "one part": segmenter.predictor.one_part,
        **({} if learnt is None else {"learnt": learnt.identity}),
        "dpcenet": dpcenet.__version__,
    }


def _read(
    query: Query,
    options: SegmentOptions,
    common: dict[str, Any],
    free: int | None,
    known: Sequence[ScanIdentity],
) -> _ReadQuery | Outcome:
    """Read a query, unless its mask is finished, corrected, or a labelled scan's.

    A query that a search found and that is one of the `known` scans is left aside.
    """
    masks = [options.out / name for name in query.mask_names]
    name = query.name.as_posix()
    try:
        for mask in masks:
            if mask.resolve() in options.keep:
                return Outcome(query.name, mask, skipped=True, corrected=True)
            if mask_record.is_corrected(mask) and not options.overwrite:
                _check_corrected(mask)
                return Outcome(query.name, mask, skipped=True, corrected=True)
        inputs = {"query": query.digest(), **common}
        for mask in masks:
            facts = mask_record.finished(mask, mask_record.key_of(inputs))
            reviewed = not options.check or read_case(case_path(options.out, name)) is not None
            if facts is not None and reviewed and not options.overwrite:
                return Outcome(query.name, mask, facts=facts, skipped=True)
        scan = read_new(query, known, free)
    except CAUGHT as error:
        return _failed(query, error)
    return _ReadQuery(query, masks[0], inputs, scan)


def _check_corrected(mask: Path) -> None:
    """Refuse what is no correction, but a damaged file: as a person's it would be kept for good.

    Raises:
        VolumeError: it cannot be read.
    """
    try:
        read_volume(mask)
    except VolumeError as error:
        found = f"the mask is damaged ({error.found})"
        remedy = "Bring it back from a copy, or segment again with --overwrite."
        raise VolumeError(mask, found, "what was written, or a correction", remedy) from error


def read_new(query: Query, known: Sequence[ScanIdentity], free: int | None = None) -> ScanFile:
    """Read a query, and refuse a copy of a labelled scan that a search found: its labels are there.

    Raises:
        NotAScanError: the message names both.
    """
    scan = query.read() if free is None else memory_cap.read_under(query, free)
    for labelled in known if query.searched else ():
        if labelled.is_of(scan.volume):
            found = f"the same scan as {labelled.name}, which is labelled"
            raise NotAScanError(
                str(query.source), found, "another scan", "--labelled-too segments it."
            )
    return scan


def _segment_one(
    segmenter: Segmenter,
    support: Support,
    options: SegmentOptions,
    read: _ReadQuery,
    free: int | None,
) -> Outcome:
    """Segment one scan, and write its mask, its line of the review, and its record."""
    start = time.perf_counter()
    try:
        result = options.consistency.apply(_predict(segmenter, support, options, read, free))
        mask_record.announce(read.mask)  # a record of an older mask must not vouch for a new one
        written, note = _write(segmenter, support, options, read, result)
        if written[0] != read.mask:  # no DICOM SEG could be made
            mask_record.withdraw(read.mask)
            read = replace(read, mask=written[0])
        unlike = mismatches(read.scan, support)
        if options.check:
            name = read.query.name.as_posix()
            mask_name = read.mask.relative_to(options.out).as_posix()
            case = review_case(
                segmenter.predictor,
                support,
                result,
                name,
                mask_name,
                options.accept_dice,
                unlike,
            )
            save_case(options.out, case)
        doubts = intensity_doubts(read.scan, support.rules.modality)
        notes = [*read.scan.facts.notes, *unlike, *doubts, *([note] if note else [])]
        facts = {
            "labels": statistics_of(read.scan.volume, result.mask, result.probability),
            "seconds": round(time.perf_counter() - start, 2),
            "precision": segmenter.predictor.precision,
            **({"learnt": _choices(result, support)} if result.choices else {}),
            **_source(read.query),
            **({"notes": notes} if notes else {}),
        }
        for mask in (options.out / name for name in read.query.mask_names):
            mask_record.drop_outputs(mask, written)
        mask_record.write_record(read.mask, read.inputs, written, facts)
    except CAUGHT as error:
        mask_record.withdraw(read.mask)
        return _failed(read.query, error)
    return Outcome(read.query.name, read.mask, facts=facts)


def _choices(result: SegmentationResult, support: Support) -> dict[str, Any]:
    """Name of each label, and the predicted Dice of its answers before and after learning."""
    choices = result.choices.items()
    return {name_for(support.names, value): asdict(choice) for value, choice in choices}


def _source(query: Query) -> dict[str, Any]:
    """Where the scan lies and how it was read, so that `export` finds it again."""
    how = {} if query.options == AS_IT_IS else {"read": asdict(query.options)}
    return {"scan": str(query.files[0].absolute()), **how}


def _predict(
    segmenter: Segmenter,
    support: Support,
    options: SegmentOptions,
    read: _ReadQuery,
    free: int | None,
) -> SegmentationResult:
    """The result in one scan; under a memory cap only if there is room for it."""
    predictor, folder = segmenter.predictor, read.mask.parent
    if free is not None:
        maps = len(support.values) if options.outputs.probability else 0
        posed = predictor.method.pose_search is not None
        memory_cap.check_room(read.scan, support, free, str(read.query.source), maps, posed)
    folder.mkdir(parents=True, exist_ok=True)
    return segmenter.find(read.scan, support)


def _write(
    segmenter: Segmenter,
    support: Support,
    options: SegmentOptions,
    read: _ReadQuery,
    result: SegmentationResult,
) -> tuple[list[Path], str]:
    """Write the mask and its companions; their paths, the mask first, and why it is no SEG."""
    learnt = read.inputs.get("learnt", ("",))[0]
    made_by = made_by_network(segmenter.predictor.method, read.inputs["network"], learnt)
    name = read.query.name.name
    labels = Labels(support.names, support.codes)
    return write_outputs(result, read.scan, read.mask, name, options.outputs, labels, made_by)


def _failed(query: Query, error: Exception) -> Outcome:
    """The outcome of a query that raised an error; its message names the query."""
    text, source = one_line(str(error)), one_line(str(query.source))
    if out_of_memory(error):
        text = "not enough memory; crop the scan, or take fewer --jobs"
    elif isinstance(error, RuntimeError):
        raise error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        text = f"{mendable(error)} (what is finished is kept)"
        return Outcome(query.name, None, text, final=True)
    if isinstance(error, OSError):
        text = one_line(mendable(error)) or text
    aside = query.searched and isinstance(error, NotAScanError)
    named = text if source in text else f"{source}: {text}"
    return Outcome(query.name, None, named, aside=aside)
