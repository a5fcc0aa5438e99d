"""The review: every case with its predicted quality, the worst first.

OUT/review.csv    one row for each case and label
OUT/review.html   the same with pictures, in one file, in every language (`system.texts`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.segmentation.review.quality import Flag, Quality, accept_words
from dpcenet.segmentation.review.reviewed_case import ReviewedCase
from dpcenet.segmentation.review.suggest import Candidate, suggest_order
from dpcenet.system.files import write_text
from dpcenet.system.tables import table_text
from dpcenet.system.templates import render_page
from dpcenet.system.texts import LANGUAGES, Words, in_each_language, said, words

COLUMNS = (
    "rank",
    "case",
    "label",
    "flag",
    "predicted dice",
    "low",
    "high",
    "volume ml",
    "reasons",
    "label next",
    "mask",
    "accept means",
)
NEXT = 3  # cases that the review suggests to label
FLAGS: tuple[Flag, ...] = ("reject", "look", "accept")


def write_review(
    out: Path,
    rows: Sequence[ReviewedCase],
    labelled: Sequence[npt.NDArray[np.float64]],
    labelled_cases: Sequence[str] = (),
) -> Path:
    """Write OUT/review.csv and OUT/review.html, the worst case first.

    Args:
        out: folder of the masks.
        rows: the cases.
        labelled: signatures of the labelled scans; see `suggest.support_signatures`.
        labelled_cases: cases that are labelled scans; they are not suggested again.

    Returns:
        the path of the page.
    """
    ranked = sorted(rows, key=lambda row: (row.lowest_dice, row.case))
    candidates = [
        Candidate(row.case, row.mean_dice, np.array(row.signature))
        for row in ranked
        if row.case not in labelled_cases
    ]
    order = suggest_order(candidates, labelled)
    label_next = {candidate.name: n for n, candidate in enumerate(order[:NEXT], start=1)}
    write_text(out / "review.csv", _table(ranked, label_next))
    write_text(out / "review.html", _page(ranked, label_next))
    return out / "review.html"


def _page(ranked: Sequence[ReviewedCase], label_next: Mapping[str, int]) -> str:
    """review.html."""
    qualities = [quality for row in ranked for quality in row.labels.values()]
    flags = [quality.flag for quality in qualities]
    reasons = {reason for quality in qualities for reason in quality.reasons}
    return render_page(
        "review.html",
        texts={language: words(language) for language in LANGUAGES},
        rows=ranked,
        label_next=label_next,
        help={flag: in_each_language(partial(_help, flag, qualities[0])) for flag in FLAGS},
        counts={flag: flags.count(flag) for flag in FLAGS},
        reasons={reason: in_each_language(partial(said, reason)) for reason in reasons},
        calibrated=all(quality.calibrated for quality in qualities),
    )


def _help(flag: Flag, quality: Quality, say: Words) -> str:
    """What a flag means, in a language."""
    return say[f"review.{flag}.help"].format(means=accept_words(quality.accept_dice, say))


def _table(ranked: Sequence[ReviewedCase], label_next: Mapping[str, int]) -> str:
    """review.csv: the labels of a case stay together, the worst first."""
    rows = []
    for rank, row in enumerate(ranked, start=1):
        for label, quality in sorted(row.labels.items(), key=lambda item: item[1].dice):
            volume = f"{quality.signals.shape.volume_ml:.1f}" if quality.signals else "0.0"
            numbers = [f"{x:.3f}" for x in (quality.dice, quality.low, quality.high)]
            cells = [rank, row.case, label, quality.flag, *numbers, volume]
            cells += ["; ".join(quality.reasons), label_next.get(row.case, ""), row.mask]
            cells.append(accept_words(quality.accept_dice))
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return table_text(COLUMNS, rows)
