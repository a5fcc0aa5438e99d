"""The review: every case with its predicted quality, the worst first.

OUT/review/<case>.json   one case; written with its mask, so that an interrupted run can go on
OUT/review.csv           one row for each case and label
OUT/review.html          the same with pictures, in one file
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.quality import Flag, Quality, assess
from dpcenet.segmentation.review.signals import answer_of
from dpcenet.segmentation.review.suggest import (
    Candidate,
    signature_of,
    suggest_order,
)
from dpcenet.segmentation.review.thumbnails import picture
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import read_json, write_json, write_text
from dpcenet.system.templates import render_page

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
)
NEXT = 3  # cases that the review suggests to label
FLAGS: tuple[Flag, ...] = ("reject", "look", "accept")


@dataclass(frozen=True)
class Reviewed:
    """What the review says of one case.

    Attributes:
        case: its name.
        mask: path of its mask, relative to the folder of the review.
        labels: label name → quality.
        pictures: label name → a picture as a data URL; none where nothing was found.
        signature: what the case looks like; see `suggest.signature_of`.
    """

    case: str
    mask: str
    labels: Mapping[str, Quality]
    pictures: Mapping[str, str]
    signature: tuple[float, ...]

    @property
    def dice(self) -> float:
        """Mean predicted Dice of the labels."""
        return fmean(quality.dice for quality in self.labels.values())

    @property
    def worst(self) -> float:
        """Lowest predicted Dice of its labels."""
        return min(quality.dice for quality in self.labels.values())

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reviewed:
        """The case that `to_json` described."""
        labels = {name: Quality.from_json(quality) for name, quality in data["labels"].items()}
        return cls(**{**data, "labels": labels, "signature": tuple(data["signature"])})


def review_case(
    segmenter: Segmenter,
    support: Support,
    result: SegmentationResult,
    case: str,
    mask: str,
) -> Reviewed:
    """Predict the quality of one segmented case.

    Args:
        segmenter, support: that made `result`.
        result: what `Segmenter.find` found in the case.
        case: its name.
        mask: path of its mask, relative to the folder of the review.
    """
    answer = answer_of(result)
    image = result.query.images[:, 0].cpu().numpy()
    names = {value: str(support.names.get(value, value)) for value in support.values}
    qualities = assess(segmenter, support, result)
    shown = {value: answer == value for value in names}
    signature = signature_of(segmenter.predictor.method, result.query, answer > 0)
    return Reviewed(
        case,
        mask,
        {names[value]: quality for value, quality in qualities.items()},
        {names[v]: picture(image, inside) for v, inside in shown.items() if inside.any()},
        tuple(np.round(signature, 4).tolist()),
    )


def save_case(out: Path, row: Reviewed) -> None:
    """Write OUT/review/CASE.json, whole or not at all."""
    write_json(out / "review" / f"{row.case}.json", row.to_json())


def read_cases(out: Path) -> list[Reviewed]:
    """The cases that `save_case` wrote, by name.

    Raises:
        ConfigError: a file is damaged, or of another version.
    """
    rows = []
    for path in sorted((out / "review").rglob("*.json")):
        try:
            rows.append(Reviewed.from_json(read_json(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: not a case of a review ({error!r}); delete it and segment the case again"
            ) from error
    return rows


def write_review(
    out: Path,
    rows: Sequence[Reviewed],
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
    ranked = sorted(rows, key=lambda row: (row.worst, row.case))
    candidates = [
        Candidate(row.case, row.dice, np.array(row.signature))
        for row in ranked
        if row.case not in labelled_cases
    ]
    order = suggest_order(candidates, labelled)
    following = {candidate.name: n for n, candidate in enumerate(order[:NEXT], start=1)}
    write_text(out / "review.csv", _table(ranked, following))
    write_text(out / "review.html", _page(ranked, following))
    return out / "review.html"


def _page(
    ranked: Sequence[Reviewed],
    following: Mapping[str, int],
) -> str:
    """review.html."""
    qualities = [quality for row in ranked for quality in row.labels.values()]
    flags = [quality.flag for quality in qualities]
    return render_page(
        "review.html",
        rows=ranked,
        following=following,
        counts={flag: flags.count(flag) for flag in FLAGS},
        calibrated=all(quality.calibrated for quality in qualities),
    )


def _table(ranked: Sequence[Reviewed], following: Mapping[str, int]) -> str:
    """review.csv: the labels of a case stay together, the worst first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, row in enumerate(ranked, start=1):
        for label, quality in sorted(row.labels.items(), key=lambda item: item[1].dice):
            volume = f"{quality.signals.shape.volume_ml:.1f}" if quality.signals else "0.0"
            numbers = [f"{x:.3f}" for x in (quality.dice, quality.low, quality.high)]
            cells = [rank, row.case, label, quality.flag, *numbers, volume]
            cells += ["; ".join(quality.reasons), following.get(row.case, ""), row.mask]
            writer.writerow([_harmless(cell) for cell in cells])
    return stream.getvalue()


def _harmless(cell: object) -> object:
    """A cell that a spreadsheet shows as text, and never runs as a formula."""
    return f"'{cell}" if str(cell).startswith(("=", "+", "-", "@")) else cell
