"""From what a person names to masks and a review: what `dpcenet segment` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpcenet.inference.support import Support
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.output_folder import check_targets, collect, locked
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.review_page import write_review
from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segment_queries import segment_each
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.statistics_table import write_statistics
from dpcenet.segmentation.workers import segment_on, segment_shares
from dpcenet.system.parallel import Engine
from dpcenet.volumes.mask_files import all_files


@dataclass(frozen=True)
class SegmentSummary:
    """What was done.

    Attributes:
        asked: number of queries.
        outcomes: of the queries that were reached, in their order.
        review: the page that ranks the results; None where no quality was predicted.
        doubtful: results with a label to look at, or to reject.
        notes: what was done to the labelled scans beyond reading them.
    """

    asked: int
    outcomes: tuple[Outcome, ...]
    review: Path | None = None
    doubtful: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentLocation:
    """Where to segment in place of this machine: an engine, and torch's threads in each worker."""

    engine: Engine
    threads: int = 1


def segment_folder(
    paths: Sequence[Path | str],
    labelled: LabelledInput,
    options: SegmentOptions,
    pattern: str | None = None,
    jobs: int = 1,
    split: bool = False,
    location: SegmentLocation | None = None,
    quiet: bool = False,
) -> SegmentSummary:
    """Segment files, folders and globs.

    Args:
        paths: see `find_queries`.
        labelled: the network and the labelled scans.
        options: where results go, and how they are made.
        pattern: of names to take from folders.
        jobs: processes on this machine.
        split: take each volume of a 4-D file or series as a query of its own.
        location: where to segment instead; files must have the same paths there.
        quiet: no progress bar.

    Raises:
        InputError, RunError: nothing can be segmented. A single scan that cannot is an outcome.
    """
    if location is not None:
        paths, labelled = [Path(path).absolute() for path in paths], labelled.absolute()
        options = replace(options, out=options.out.absolute())
    kept = {path.resolve() for mask in labelled.masks for path in all_files(mask)}
    options = replace(options, keep=frozenset(kept))
    queries = [
        query
        for query in find_queries(
            paths, pattern, options.out, labelled.options, split, options.outputs.form
        )
        if options.keep.isdisjoint(path.resolve() for path in query.files)
    ]
    segmenter, support = labelled.open()
    with locked(options.out):
        check_targets(queries, options)
        if location is not None:
            each = segment_on(location.engine, labelled, queries, options, location.threads)
        elif (processes := min(jobs, len(queries))) > 1:
            each = segment_shares(labelled, queries, options, processes)
        else:
            each = segment_each(segmenter, queries, support, options)
        outcomes = tuple(collect(each, queries, options.out, quiet))
        summary = SegmentSummary(len(queries), outcomes, notes=support.notes)
        if options.check:
            labelled_names = _labelled_names(queries, labelled)
            summary = _reviewed(summary, segmenter, support, options.out, labelled_names)
        write_statistics(options, queries, outcomes, support)
        return summary


def _reviewed(
    summary: SegmentSummary,
    segmenter: Segmenter,
    support: Support,
    out: Path,
    labelled_names: list[str],
) -> SegmentSummary:
    """The summary with a review of this call's results; masks that a person corrected, and cases
    of earlier calls, are left out."""
    outcomes = summary.outcomes
    judged = {o.query.as_posix() for o in outcomes if o.mask is not None and not o.corrected}
    if not judged:
        return summary
    rows = [row for row in read_cases(out) if row.case in judged]
    signatures = support_signatures(segmenter.predictor.method, support)
    page = write_review(out, rows, signatures, labelled_names)
    doubtful = sum(any(q.flag != "accept" for q in row.labels.values()) for row in rows)
    return replace(summary, review=page, doubtful=doubtful)


def _labelled_names(queries: Sequence[Query], labelled: LabelledInput) -> list[str]:
    """Names of the queries that are labelled scans themselves."""
    known = {image.resolve() for image in labelled.images}
    return [
        query.name.as_posix()
        for query in queries
        if known & {path.resolve() for path in (*query.files, query.files[0].parent)}
    ]
