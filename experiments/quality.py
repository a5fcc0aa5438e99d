"""Predicted against true Dice: measure the signals, fit the calibration, judge it.

    python experiments/quality.py CHAOS --check ACDC --out OUT [--ship]

CHAOS and ACDC are prepared data sets. The first scan of each fold (lineage form) is the support of
the others, blind to their labels. The calibration is judged on folds that it has not seen, and on
ACDC, which it is never fitted on. Signals are measured once and kept in OUT; with --ship the
calibration goes into the package, for the weights of this version.
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
from scipy.stats import pearsonr, spearmanr

import dpcenet
from dpcenet.data.splits import make_fold
from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.review.calibration import FILE, Calibration, Sample, fit
from dpcenet.segmentation.review.quality import BAD, Quality, judge, nothing_found
from dpcenet.segmentation.review.signals import Signals, label_map_of, measure
from dpcenet.system.files import write_json, write_text
from dpcenet.volumes.metrics import dice

FOLDS = 5


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
    data: Annotated[Path, typer.Argument(help="Prepared data set to calibrate on.")],
    out: Annotated[Path, typer.Option(help="Folder for rows and tables.")],
    check: Annotated[Path | None, typer.Option(help="Another one, only judged.")] = None,
    ship: Annotated[bool, typer.Option(help="Put the calibration into the package.")] = False,
) -> None:
    """Measure, fit, judge."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    rows = rows_of(dataset, out)
    weights = hash_of_state(segmenter_for(dataset).predictor.method)
    words = (
        f"{data.name}, first scan of each of {FOLDS} folds as support, blind; {dataset.hash[:12]}"
    )
    folds = range(FOLDS)
    unseen = [
        (row, quality)
        for fold in folds
        for row, quality in judged(rows, fitted(rows, weights, words, leave_out=fold))
        if row.fold == fold
    ]
    final = fitted(rows, weights, words)
    lines = [*HEAD, table_row(f"{data.name}, folds not seen", unseen)]
    if check is not None:
        lines.append(table_row(check.name, list(judged(rows_of(open_dataset(check), out), final))))
    typer.echo("\n".join(lines))
    write_text(out / "quality.md", "\n".join(lines) + "\n")
    write_json(out / FILE, asdict(final))
    if ship:
        write_json(Path(dpcenet.__file__).parent / "assets" / "models" / FILE, asdict(final))


def rows_of(dataset: PreparedDataset, out: Path) -> list[Row]:
    """The rows of a data set: read from OUT, or measured and kept there."""
    rows_type = TypeAdapter(list[Row])
    segmenter = segmenter_for(dataset)
    weights = hash_of_state(segmenter.predictor.method)
    path = out / f"{dataset.folder.name}-{weights[:12]}.json"
    if not path.is_file():
        write_json(path, rows_type.dump_python(list(measured(dataset)), by_alias=True))
    return rows_type.validate_json(path.read_text())


def measured(dataset: PreparedDataset) -> Iterator[Row]:
    """Segment every query of every fold and measure its signals."""
    segmenter = segmenter_for(dataset)
    for fold in range(FOLDS):
        members = make_fold([case.name for case in dataset.cases], fold, "lineage")
        ((support_name, queries),) = members.pairs("first")
        case = dataset.case(support_name)
        support = segmenter.support(scan_of(case), label_of(case))
        for name in queries:
            typer.echo(f"fold {fold}: {name} by {support_name}", err=True)
            query = dataset.case(name)
            found = segmenter.find(scan_of(query), support)
            answer, signals = label_map_of(found), measure(segmenter.predictor, found)
            for value in support.values:
                true = dice(answer == value, np.asarray(query.label == value))
                label = dataset.labels[value]
                yield Row(fold, support_name, name, label, true, signals.get(value))


def fitted(rows: Sequence[Row], weights: str, words: str, leave_out: int = -1) -> Calibration:
    """The calibration of all folds but one."""
    samples = [
        Sample(row.fold, row.signals, row.dice)
        for row in rows
        if row.signals is not None and row.fold != leave_out
    ]
    return fit(samples, weights, words)


def judged(rows: Sequence[Row], calibration: Calibration) -> Iterator[tuple[Row, Quality]]:
    """Each row with its predicted quality."""
    for row in rows:
        yield row, judge(row.signals, calibration) if row.signals else nothing_found()


HEAD = [
    "| scans | masks | bad | Pearson | Spearman | mean error | of a constant | in the interval "
    "| flagged | bad among flagged | bad found | rejected | bad among rejected | bad rejected |",
    "|" + " --- |" * 14,
]


def table_row(name: str, pairs: Sequence[tuple[Row, Quality]]) -> str:
    """One line of the table in Markdown."""
    true = np.array([row.dice for row, _ in pairs])
    predicted = np.array([quality.dice for _, quality in pairs])
    bad = true < BAD
    flagged = np.array([quality.flag != "accept" for _, quality in pairs])
    rejected = np.array([quality.flag == "reject" for _, quality in pairs])
    inside = fmean(quality.low <= row.dice <= quality.high for row, quality in pairs)
    cells = [
        name,
        str(len(pairs)),
        str(bad.sum()),
        f"{pearsonr(predicted, true).statistic:.2f}",
        f"{spearmanr(predicted, true).statistic:.2f}",
        f"{abs(predicted - true).mean():.3f}",
        f"{abs(true - true.mean()).mean():.3f}",
        f"{100 * inside:.0f} %",
        str(flagged.sum()),
        _share(bad & flagged, flagged),
        _share(bad & flagged, bad),
        str(rejected.sum()),
        _share(bad & rejected, rejected),
        _share(bad & rejected, bad),
    ]
    return f"| {' | '.join(cells)} |"


def _share(part: np.ndarray, whole: np.ndarray) -> str:
    return f"{100 * part.sum() / whole.sum():.0f} %" if whole.any() else "–"


if __name__ == "__main__":
    typer.run(main)
