"""The review list: every case with its predicted quality, doubtful ones first.

OUT/review/<case>.json   what is known of one case; written with its mask, so that a run can go on
OUT/rounds.json          mean predicted Dice for each number of labelled scans that was tried
OUT/review.csv           one row for each case and label
OUT/review.html          the same with pictures, in one file
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.quality import Flag, Quality, assess
from dpcenet.segmentation.review.signals import answer_of
from dpcenet.segmentation.review.suggest import (
    Candidate,
    expected_curve,
    signature_of,
    suggest_order,
)
from dpcenet.segmentation.review.thumbnails import picture
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import read_json, write_json, write_text

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
ROUNDS = "rounds.json"


@dataclass(frozen=True)
class Reviewed:
    """What the review says of one case.

    Attributes:
        case: its name.
        mask: where its mask lies, relative to the review.
        labels: label name → quality.
        pictures: label name → data address of a picture; none where nothing was found.
        signature: what the case looks like; see `grow.signature_of`.
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
        """Predicted Dice of the label that needs a look most."""
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
    found: SegmentationResult,
    case: str,
    mask: str,
) -> Reviewed:
    """Judge one segmented case.

    Args:
        segmenter, support: that made `found`.
        found: what `Segmenter.find` says of the case.
        case: its name.
        mask: where its mask lies, relative to the folder of the review.
    """
    answer = answer_of(found)
    image = found.query.images[:, 0].cpu().numpy()
    called = {value: str(support.names.get(value, value)) for value in support.values}
    qualities = assess(segmenter, support, found)
    shown = {value: answer == value for value in called}
    signature = signature_of(segmenter.predictor.method, found.query, answer > 0)
    return Reviewed(
        case,
        mask,
        {called[value]: quality for value, quality in qualities.items()},
        {called[v]: picture(image, inside) for v, inside in shown.items() if inside.any()},
        tuple(np.round(signature, 4).tolist()),
    )


def save_case(out: Path, row: Reviewed) -> None:
    """Keep what is known of a case, whole or not at all."""
    write_json(out / "review" / f"{row.case}.json", row.to_json())


def read_cases(out: Path) -> list[Reviewed]:
    """The cases that `save_case` kept, by name.

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
    """Write OUT/review.csv and OUT/review.html, the most doubtful case first.

    Args:
        out: folder of the masks.
        rows: the cases.
        labelled: what the support scans look like; see `grow.support_signatures`.
        labelled_cases: those of the cases that are supports: they are not suggested again.

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
    curve = enumerate(expected_curve(order)[: NEXT + 1], start=len(labelled))
    rounds = _rounds(out, len(labelled), [candidate.dice for candidate in candidates])
    write_text(out / "review.csv", _table(ranked, following))
    write_text(out / "review.html", _page(ranked, following, rounds, dict(curve)))
    return out / "review.html"


def _page(
    ranked: Sequence[Reviewed],
    following: Mapping[str, int],
    rounds: Mapping[str, float],
    curve: Mapping[int, float],
) -> str:
    """review.html."""
    template = (resources.files("dpcenet") / "assets" / "templates" / "review.html").read_text(
        "utf-8"
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    qualities = [quality for row in ranked for quality in row.labels.values()]
    flags = [quality.flag for quality in qualities]
    return environment.from_string(template).render(
        rows=ranked,
        following=following,
        rounds=rounds,
        curve=curve,
        counts={flag: flags.count(flag) for flag in FLAGS},
        calibrated=all(quality.calibrated for quality in qualities),
    )


def _rounds(out: Path, labelled: int, dices: Sequence[float]) -> dict[str, float]:
    """Mean predicted Dice by number of labelled scans: earlier rounds, and this one."""
    path = out / ROUNDS
    rounds: dict[str, float] = read_json(path) if path.is_file() else {}
    if dices:
        rounds[str(labelled)] = fmean(dices)
        write_json(path, rounds)
    return dict(sorted(rounds.items(), key=lambda item: int(item[0])))


def _table(ranked: Sequence[Reviewed], following: Mapping[str, int]) -> str:
    """review.csv: labels of a case stay together, the worst one first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, row in enumerate(ranked, start=1):
        for label, quality in sorted(row.labels.items(), key=lambda item: item[1].dice):
            volume = f"{quality.signals.shape.volume_ml:.1f}" if quality.signals else "0.0"
            numbers = (f"{x:.3f}" for x in (quality.dice, quality.low, quality.high))
            reasons = "; ".join(quality.reasons)
            suggested = following.get(row.case, "")
            writer.writerow(
                [
                    rank,
                    row.case,
                    label,
                    quality.flag,
                    *numbers,
                    volume,
                    reasons,
                    suggested,
                    row.mask,
                ]
            )
    return stream.getvalue()
