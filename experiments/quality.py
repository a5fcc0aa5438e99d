"""Predicted against true Dice: measure the signals, fit the calibration, judge it.

    python experiments/quality.py CHAOS SABS:1,2,3,6,7,8 ACDC --out OUT [--ship]

Prepared data sets, with the labels that are segmented where these are not all. Every scan is
segmented blind: in data sets of at least 20 scans by the first scan of its fold (five folds,
lineage form), in smaller ones by the scan before it. The calibration is made on all
data sets but one and tested on that one, each in turn; with --ship, one made on all of them goes
into the package, for the weights of this version. Signals are measured once and kept in OUT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
import typer
from prepared import label_of, scan_of, segmenter_for
from pydantic import TypeAdapter
from scipy.stats import spearmanr

import dpcenet
from dpcenet.data.splits import make_fold
from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.review.calibration import FILE, Calibration, Sample, fit
from dpcenet.segmentation.review.quality import BAD, Quality, judge, nothing_found
from dpcenet.segmentation.review.signals import Signals, measure
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import write_json, write_text
from dpcenet.volumes.metrics import dice

FOLDS, FEW = 5, 20
ASKED = (0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Row:
    """One label of one query: its signals, None where nothing was found, and the truth."""

    fold: int
    support: str
    case: str
    label: str
    dice: float
    signals: Signals | None


def main(
    data: Annotated[list[str], typer.Argument(help="Prepared data sets; FOLDER:1,2 for labels.")],
    out: Annotated[Path, typer.Option(help="Folder for rows and tables.")],
    ship: Annotated[bool, typer.Option(help="Put the calibration into the package.")] = False,
) -> None:
    """Measure, fit, judge."""
    torch.set_num_threads(1)
    weights = hash_of_state(Segmenter.shipped("cpu").predictor.method)
    sets = {Path(text.partition(":")[0]).name: rows_of(text, out, weights) for text in data}
    others = {name: judged_by_the_others(sets, name, weights) for name in sets}
    known = {name: known_by_all(sets, name, weights) for name in sets}
    lines = []
    for title, judged in (("made on the other sets", others), ("made on all sets", known)):
        lines += [f"Calibration {title}:", "", *PREDICTED]
        lines += [predicted_row(name, pairs) for name, pairs in judged.items()]
        lines += ["", *ACCEPTED]
        lines += [accepted_row(name, p, dice) for name, p in judged.items() for dice in ASKED]
        lines += [""]
    typer.echo("\n".join(lines))
    write_text(out / "quality.md", "\n".join(lines))
    counts = ", ".join(f"{name} ({len(rows)} masks)" for name, rows in sets.items())
    final = asdict(fit(samples_of(sets), weights, f"{counts}; blind, one labelled scan"))
    write_json(out / FILE, final)
    if ship:
        write_json(Path(dpcenet.__file__).parent / "assets" / "models" / FILE, final)


def rows_of(text: str, out: Path, weights: str) -> list[Row]:
    """The rows of a data set: read from OUT, or measured and kept there."""
    folder, _, labels = text.partition(":")
    rows_type = TypeAdapter(list[Row])
    path = out / f"{Path(folder).name}-{weights[:12]}.json"
    if not path.is_file():
        values = [int(value) for value in labels.split(",")] if labels else []
        rows = list(measured(open_dataset(Path(folder)), values))
        write_json(path, rows_type.dump_python(rows, by_alias=True))
    return rows_type.validate_json(path.read_text())


def measured(dataset: PreparedDataset, values: Sequence[int]) -> Iterator[Row]:
    """Segment every query of every fold and measure its signals."""
    segmenter = segmenter_for(dataset)
    for fold, support_name, queries in served([case.name for case in dataset.cases]):
        case = dataset.case(support_name)
        support = segmenter.support(scan_of(case), label_of(case), values)
        for name in queries:
            typer.echo(f"{dataset.folder.name}: {name} by {support_name}", err=True)
            query = dataset.case(name)
            found = segmenter.find(scan_of(query), support)
            answer, signals = found.mask.data, measure(segmenter.predictor, found)
            for value in support.values:
                true = dice(answer == value, np.asarray(query.label == value))
                label = dataset.labels[value]
                yield Row(fold, support_name, name, label, true, signals.get(value))


def served(names: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Fold, support and queries; see the top of this file."""
    if len(names) >= FEW:
        for fold in range(FOLDS):
            ((first, others),) = make_fold(names, fold, "lineage").pairs("first")
            yield fold, first, list(others)
    else:
        for place, support in enumerate(names):
            yield place * FOLDS // len(names), support, [names[(place + 1) % len(names)]]


def samples_of(sets: dict[str, list[Row]]) -> list[Sample]:
    """What a calibration is fitted on; a mask that is empty needs none."""
    return [
        Sample(f"{name} {row.fold}", row.signals, row.dice)
        for name, rows in sets.items()
        for row in rows
        if row.signals is not None
    ]


Pairs = list[tuple[Row, Quality]]


def judged_by_the_others(sets: dict[str, list[Row]], name: str, weights: str) -> Pairs:
    """The masks of a data set, judged by a calibration that was made on all others."""
    others = {other: rows for other, rows in sets.items() if other != name}
    calibration = fit(samples_of(others or sets), weights, "")
    return [(row, quality_of(row, calibration)) for row in sets[name]]


def known_by_all(sets: dict[str, list[Row]], name: str, weights: str) -> Pairs:
    """The masks of a data set, judged by a calibration made on all, this fold of it left out."""
    pairs: Pairs = []
    for fold in range(FOLDS):
        seen = {**sets, name: [row for row in sets[name] if row.fold != fold]}
        calibration = fit(samples_of(seen), weights, "")
        pairs += [(r, quality_of(r, calibration)) for r in sets[name] if r.fold == fold]
    return pairs


def quality_of(row: Row, calibration: Calibration) -> Quality:
    """The predicted quality of a row."""
    return judge(row.signals, calibration) if row.signals else nothing_found()


PREDICTED = [
    "| tested on | masks | bad | Spearman | mean error | of a constant | above the lower end "
    "| below the upper end | bad ones rejected | bad among rejected |",
    "|" + " --- |" * 10,
]


def predicted_row(name: str, pairs: Pairs) -> str:
    """How well the Dice of one data set is predicted, in Markdown."""
    true = np.array([row.dice for row, _ in pairs])
    predicted = np.array([quality.dice for _, quality in pairs])
    bad = true < BAD
    rejected = np.array([quality.flag == "reject" for _, quality in pairs])
    found = [(row, quality) for row, quality in pairs if row.signals is not None]
    cells = [
        name,
        str(len(pairs)),
        str(bad.sum()),
        f"{spearmanr(predicted, true).statistic:.2f}",
        f"{abs(predicted - true).mean():.3f}",
        f"{abs(true - true.mean()).mean():.3f}",
        f"{100 * fmean(quality.low <= row.dice for row, quality in found):.0f} %",
        f"{100 * fmean(row.dice <= quality.high for row, quality in found):.0f} %",
        _share(bad & rejected, bad),
        _share(bad & rejected, rejected),
    ]
    return f"| {' | '.join(cells)} |"


ACCEPTED = [
    "| tested on | Dice asked for | masks that have it | accepted | of these have it "
    "| bad ones accepted |",
    "|" + " --- |" * 6,
]


def accepted_row(name: str, pairs: Pairs, asked: float) -> str:
    """What is accepted of one data set, in Markdown."""
    true = np.array([row.dice for row, _ in pairs])
    accepted = np.array([quality.asking(asked).flag == "accept" for _, quality in pairs])
    everything, bad = np.ones(len(true), bool), true < BAD
    cells = [
        name,
        f"{asked:.2f}",
        _share(true >= asked, everything),
        _share(accepted, everything),
        _share((true >= asked) & accepted, accepted),
        _share(bad & accepted, bad),
    ]
    return f"| {' | '.join(cells)} |"


def _share(part: np.ndarray, whole: np.ndarray) -> str:
    return f"{100 * part.sum() / whole.sum():.0f} % ({part.sum()})" if whole.any() else "–"


if __name__ == "__main__":
    typer.run(main)
