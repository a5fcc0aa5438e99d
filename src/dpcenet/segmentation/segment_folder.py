"""From what a person names to masks and a review: what `dpcenet segment` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpcenet.inference.support import Support
from dpcenet.segmentation.labelled_input import Opening
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.review_page import read_cases, write_review
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.segment_queries import (
    Batch,
    Outcome,
    check_targets,
    collect,
    segment_each,
)
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.workers import segment_on, segment_shares
from dpcenet.system.parallel import Engine


@dataclass(frozen=True)
class Summary:
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
    opening: Opening,
    batch: Batch,
    pattern: str | None = None,
    jobs: int = 1,
    cluster: Cluster | None = None,
    quiet: bool = False,
) -> Summary:
    """Segment files, folders and globs.

    Args:
        paths: see `find_queries`.
        opening: the network and the labelled scans.
        batch: where to, and how.
        pattern: of names to take from folders.
        jobs: processes on this machine.
        cluster: where else to segment, in their place; files must have the same paths there.
        quiet: no progress bar.

    Raises:
        InputError, RunError: nothing can be segmented. A single scan that cannot is an outcome.
    """
    if cluster is not None:
        paths, opening = [Path(path).absolute() for path in paths], opening.absolute()
        batch = replace(batch, out=batch.out.absolute())
    batch = replace(batch, keep=frozenset(mask.resolve() for mask in opening.masks))
    queries = [
        query
        for query in find_queries(paths, pattern, batch.out)
        if batch.keep.isdisjoint(path.resolve() for path in query.files)
    ]
    segmenter, support = opening.open()
    check_targets(queries, batch)
    if cluster is not None:
        each = segment_on(cluster.engine, opening, queries, batch, cluster.threads)
    elif jobs == 1:
        each = segment_each(segmenter, queries, support, batch)
    else:
        each = segment_shares(opening, queries, batch, min(jobs, len(queries)))
    outcomes = tuple(collect(each, queries, batch, quiet))
    summary = Summary(len(queries), outcomes)
    judged = {o.query.as_posix() for o in outcomes if o.mask is not None and not o.corrected}
    if not (batch.check and judged):
        return summary
    return _reviewed(summary, segmenter, support, batch, judged, _labelled(queries, opening))


def _reviewed(
    summary: Summary,
    segmenter: Segmenter,
    support: Support,
    batch: Batch,
    judged: set[str],
    labelled: list[str],
) -> Summary:
    """The summary with a review of this run's cases, but for corrected ones; an earlier run's are
    left out."""
    rows = [row for row in read_cases(batch.out) if row.case in judged]
    page = write_review(
        batch.out, rows, support_signatures(segmenter.predictor.method, support), labelled
    )
    doubtful = sum(any(q.flag != "accept" for q in row.labels.values()) for row in rows)
    return Summary(summary.asked, summary.outcomes, page, doubtful)


def _labelled(queries: Sequence[Query], opening: Opening) -> list[str]:
    """Names of the queries that are labelled scans themselves."""
    known = {image.resolve() for image in opening.images}
    return [
        query.name.as_posix()
        for query in queries
        if known & {path.resolve() for path in (*query.files, query.files[0].parent)}
    ]
