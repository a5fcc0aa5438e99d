"""From what a person names to masks and a review: what `dpcenet segment` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation.estimate import estimate
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.layout import write_layout_files
from dpcenet.segmentation.learning import learn_into, said_of_learning, with_learnt
from dpcenet.segmentation.output_folder import check_targets, collect, locked
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.quality import accept_words
from dpcenet.segmentation.review.review_page import write_review
from dpcenet.segmentation.review.reviewed_case import read_cases, save_case
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segment_queries import read_new, segment_each
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.statistics_table import write_statistics
from dpcenet.segmentation.workers import segment_on, segment_shares
from dpcenet.system.parallel import Engine
from dpcenet.system.progress import say
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.mask_files import all_files
from dpcenet.volumes.walk_folders import LeftAside


@dataclass(frozen=True)
class SegmentSummary:
    """What was done.

    Attributes:
        asked: number of queries.
        outcomes: of the queries that were reached, in their order.
        review: the page that ranks the results; None where no quality was predicted.
        accepted: results of which every label is accepted.
        doubtful: results with a label to look at, or to reject.
        accept_means: what "accepted" means, in words.
        notes: what was done to the labelled scans beyond reading them.
        aside: what was found where scans were sought, and is none.
    """

    asked: int
    outcomes: tuple[Outcome, ...]
    review: Path | None = None
    accepted: int = 0
    doubtful: int = 0
    accept_means: str = ""
    notes: tuple[str, ...] = ()
    aside: tuple[LeftAside, ...] = ()


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
    labelled_too: bool = False,
    quiet: bool = False,
    links_out: bool = True,
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
        labelled_too: segment a labelled scan, or a copy of it, that lies in a folder of queries.
        quiet: no progress bar, and no estimate of the time.
        links_out: whether links that lead out of a folder of queries are followed.

    Raises:
        InputError, RunError: nothing can be segmented. A single scan that cannot is an outcome.
    """
    if options.learn is not None and options.memory is not None:
        raise ConfigError("--learn: holds more than --memory can foresee; leave one of them out")
    if location is not None:
        paths, labelled = [Path(path).absolute() for path in paths], labelled.absolute()
        options = replace(options, out=options.out.absolute())
    kept = {path.resolve() for mask in labelled.masks for path in all_files(mask)}
    options = replace(options, keep=frozenset(kept), copies=labelled_too)
    aside: list[LeftAside] = []
    form = options.outputs.form
    found = find_queries(
        paths, pattern, options.out, labelled.options, split, form, aside, links_out
    )
    found = [
        replace(query, layout=options.outputs.layout)
        for query in found
        if options.keep.isdisjoint(path.resolve() for path in query.files)
    ]
    queries = found if labelled_too else _without_labelled(found, labelled, aside)
    say("segment: loading the network and the labelled scans", quiet)
    segmenter, support = labelled.open()
    if location is None:
        say(f"segment: {_estimate(segmenter, support, len(queries), options, jobs)}", quiet)
    with locked(options.out):
        called = {value: name_for(support.names, value) for value in support.values}
        check_targets(queries, options, called)
        write_layout_files(options.out, support.names, options.outputs.layout)
        about: dict[str, Any] = {"accept_dice": options.accept_dice} if options.check else {}
        if learns := options.learn is not None and bool(queries):
            about["learn"] = _learn(labelled, segmenter, support, queries, options, quiet)
            labelled = replace(labelled, learnt=options.out)
        if location is not None:
            each = segment_on(location.engine, labelled, queries, options, location.threads)
        elif (processes := min(jobs, len(queries))) > 1:
            each = segment_shares(labelled, queries, options, processes)
        else:
            here = with_learnt(segmenter, support, options.out) if learns else segmenter
            each = segment_each(here, queries, support, options)
        outcomes = tuple(collect(each, queries, options.out, quiet, about))
        notes = (*support.notes, *said_of_learning(about, outcomes))
        summary = SegmentSummary(len(queries), outcomes, notes=notes, aside=tuple(aside))
        if options.check:
            labelled_names = _labelled_names(queries, labelled)
            summary = _reviewed(summary, segmenter, support, options, labelled_names)
        write_statistics(options, queries, outcomes, support)
        return summary


def _learn(
    labelled: LabelledInput,
    segmenter: Segmenter,
    support: Support,
    queries: Sequence[Query],
    options: SegmentOptions,
    quiet: bool,
) -> str:
    """Learn from the labelled scans, and from answers for others; what was done in words."""
    known, out = _labelled_names(queries, labelled), options.out
    copies = () if options.copies else support.sources
    named = {query.name.as_posix(): query for query in queries}
    scans = [(n, partial(read_new, each, copies)) for n, each in named.items() if n not in known]
    assert options.learn is not None
    return learn_into(out, segmenter, support, scans, options.learn, options.overwrite, quiet)


def _estimate(
    segmenter: Segmenter, support: Support, scans: int, options: SegmentOptions, jobs: int
) -> str:
    """What it will take, in words."""
    learns = options.learn is not None
    said = str(estimate(segmenter, support, scans, options.check, jobs, learns))
    return f"{said}, and {options.learn:g} minutes to learn" if learns else said


def _reviewed(
    summary: SegmentSummary,
    segmenter: Segmenter,
    support: Support,
    options: SegmentOptions,
    labelled_names: list[str],
) -> SegmentSummary:
    """The summary with a review of this call's results; masks that a person corrected, and cases
    of earlier calls, are left out. Masks from before are flagged for the Dice asked for now."""
    out, outcomes = options.out, summary.outcomes
    judged = {o.query.as_posix() for o in outcomes if o.mask is not None and not o.corrected}
    if not judged:
        return summary
    before = [row for row in read_cases(out) if row.case in judged]
    rows = [row.asking(options.accept_dice) for row in before]
    for row, old in zip(rows, before, strict=True):
        if row != old:
            save_case(out, row)
    signatures = support_signatures(segmenter.predictor.method, support)
    page = write_review(out, rows, signatures, labelled_names)
    accepted = sum(all(q.flag == "accept" for q in row.labels.values()) for row in rows)
    return replace(
        summary,
        review=page,
        accepted=accepted,
        doubtful=len(rows) - accepted,
        accept_means=accept_words(options.accept_dice),
    )


def _without_labelled(
    queries: Sequence[Query], labelled: LabelledInput, aside: list[LeftAside]
) -> list[Query]:
    """The queries without labelled scans that a search found; one that a person named stays."""
    known = set(_labelled_names(queries, labelled))
    left = [q for q in queries if q.searched and q.name.as_posix() in known]
    why = "a labelled scan (--labelled-too segments it)"
    aside += [LeftAside(query.files[0], why) for query in left]
    return [query for query in queries if query not in left]


def _labelled_names(queries: Sequence[Query], labelled: LabelledInput) -> list[str]:
    """Names of the queries that are labelled scans themselves."""
    known = {image.resolve() for image in labelled.images}
    return [
        query.name.as_posix()
        for query in queries
        if known & {path.resolve() for path in (*query.files, query.files[0].parent)}
    ]
