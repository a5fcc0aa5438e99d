"""From what a person names to masks and a review: what `dpcenet segment` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpcenet.inference.support import Support
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.review_page import read_cases, write_review
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.segment_queries import (
    Outcome,
    SegmentOptions,
    check_targets,
    collect,
    segment_each,
)
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.workers import segment_on, segment_shares
from dpcenet.system.parallel import Engine


@dataclass(frozen=True)
class SegmentSummary:
    """What was done.

    Attributes:
        asked: number of queries.
        outcomes: of those that were reached, in their order.
        review: the page that ranks the results; None where nothing was judged.
        doubtful: results with a label to look at, or to reject.
    """

    asked: int
    outcomes: tuple[Outcome, ...]
    review: Path | None = None
    doubtful: int = 0


@dataclass(frozen=True)
class Cluster:
    """Workers elsewhere: an engine of `dpcenet.system.parallel`, and torch's threads in each."""

    engine: Engine
    threads: int = 1


def segment_folder(
    paths: Sequence[Path | str],
    labelled_input: LabelledInput,
    options: SegmentOptions,
    pattern: str | None = None,
    jobs: int = 1,
    cluster: Cluster | None = None,
    quiet: bool = False,
) -> SegmentSummary:
    """Segment files, folders and globs.

    Args:
        paths: see `find_queries`.
        labelled_input: the network and the labelled scans.
        options: where to, and how.
        pattern: of names to take from folders.
        jobs: processes on this machine.
        cluster: where else to segment, in their place; files must have the same paths there.
        quiet: no progress bar.

    Raises:
        InputError, RunError: nothing can be segmented. A single scan that cannot is an outcome.
    """
    if cluster is not None:
        paths, labelled_input = [Path(path).absolute() for path in paths], labelled_input.absolute()
        options = replace(options, out=options.out.absolute())
    options = replace(options, keep=frozenset(mask.resolve() for mask in labelled_input.masks))
    queries = [
        query
        for query in find_queries(paths, pattern, options.out)
        if options.keep.isdisjoint(path.resolve() for path in query.files)
    ]
    segmenter, support = labelled_input.open()
    check_targets(queries, options)
    if cluster is not None:
        each = segment_on(cluster.engine, labelled_input, queries, options, cluster.threads)
    elif jobs == 1:
        each = segment_each(segmenter, queries, support, options)
    else:
        each = segment_shares(labelled_input, queries, options, min(jobs, len(queries)))
    outcomes = tuple(collect(each, queries, options, quiet))
    summary = SegmentSummary(len(queries), outcomes)
    judged = {o.query.as_posix() for o in outcomes if o.mask is not None and not o.corrected}
    if not (options.check and judged):
        return summary
    return _reviewed(
        summary, segmenter, support, options, judged, _labelled(queries, labelled_input)
    )


def _reviewed(
    summary: SegmentSummary,
    segmenter: Segmenter,
    support: Support,
    options: SegmentOptions,
    judged: set[str],
    labelled: list[str],
) -> SegmentSummary:
    """The summary with a review of this run's cases, but for corrected ones; an earlier run's are
    left out."""
    rows = [row for row in read_cases(options.out) if row.case in judged]
    page = write_review(
        options.out, rows, support_signatures(segmenter.predictor.method, support), labelled
    )
    doubtful = sum(any(q.flag != "accept" for q in row.labels.values()) for row in rows)
    return SegmentSummary(summary.asked, summary.outcomes, page, doubtful)


def _labelled(queries: Sequence[Query], labelled_input: LabelledInput) -> list[str]:
    """Names of the queries that are labelled scans themselves."""
    known = {image.resolve() for image in labelled_input.images}
    return [
        query.name.as_posix()
        for query in queries
        if known & {path.resolve() for path in (*query.files, query.files[0].parent)}
    ]
