"""Scores: the rows of an evaluation, and their means."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, get_type_hints

from dpcenet.errors import ConfigError
from dpcenet.system.files import write_text

Protocol = Literal["paper", "ep2", "blind"]
COPY = "copy"  # the row of the pasted mask, which every table carries
REGISTER = "register"  # the row of labels that a registration of the scans carries over


@dataclass(frozen=True)
class Score:
    """How well one label of one query volume was segmented.

    Attributes:
        method: preset of the run, "copy" or "register".
        case, label, support, fold, seed, protocol: which query, organ, labelled scan and run.
        dice, iou, nsd: 0…1; hd95_mm: 95th percentile of the surface distances in mm. What they
            are where a mask is empty, `dpcenet.volumes.metrics` says.
    """

    method: str
    case: str
    label: str
    support: str
    fold: int
    seed: int
    protocol: str
    dice: float
    iou: float
    hd95_mm: float
    nsd: float


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """One row for each method, case and label; `read_scores` reads them back."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Score)])
    writer.writeheader()
    writer.writerows(dataclasses.asdict(score) for score in scores)
    write_text(path, stream.getvalue())


def scores_of(scores: Sequence[Score], method: str) -> list[Score]:
    """A method's scores; those of the pasted mask where it has none, as when it is `copy`."""
    mine = [score for score in scores if score.method == method]
    return mine or [score for score in scores if score.method == COPY]


def percent_dice(scores: Sequence[Score]) -> float:
    """Mean Dice in percent."""
    return 100 * fmean(score.dice for score in scores)


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over cases for each label, and the mean of the labels."""
    by_label: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(score.label for score in scores):
        rows = [score for score in scores if score.label == label]
        dices = [row.dice for row in rows]
        by_label[label] = {
            "cases": len(rows),
            "dice": fmean(dices),
            "dice_sd": stdev(dices) if len(dices) > 1 else 0.0,
            "iou": fmean(row.iou for row in rows),
            "hd95_mm": fmean(row.hd95_mm for row in rows),
            "nsd": fmean(row.nsd for row in rows),
        }
    if by_label:
        names = ("dice", "iou", "hd95_mm", "nsd")
        by_label["mean"] = {k: fmean(row[k] for row in by_label.values()) for k in names}
    return by_label


def read_scores(path: Path) -> list[Score]:
    """The rows of a scores file.

    Raises:
        ConfigError: the file is missing or has other columns.
    """
    kinds = get_type_hints(Score)
    try:
        with path.open(newline="") as stream:
            return [
                Score(**{name: kind(row[name]) for name, kind in kinds.items()})
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: not a scores file ({error}); run `dpcenet evaluate`") from error
