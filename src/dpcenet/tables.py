"""Tables of one or several runs, from their scores files; nothing is typed.

Runs of one config (several folds, several seeds) make one row. Every table carries `copy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from dpcenet.config import config_to_dict
from dpcenet.files import hash_of, read_json
from dpcenet.runs import Run
from dpcenet.scores import COPY, describe, read_scores
from dpcenet.types import Score


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation over cases, in percent or mm."""

    mean: float
    sd: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.sd:.1f}"


@dataclass(frozen=True)
class Row:
    """A method's line in a table: a cell for each label, their mean, and further means."""

    name: str
    cells: tuple[Cell, ...]
    mean: float
    hd95_mm: float
    nsd: float
    cases: int


@dataclass(frozen=True)
class Table:
    """Scores under one protocol.

    Attributes:
        rules: what they were made by, in a line.
        labels: columns.
        rows: methods.
    """

    rules: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def head(self) -> list[str]:
        """Names of the columns."""
        return ["method", *self.labels, "mean", "HD95 mm", "NSD %", "cases"]

    def lines(self) -> list[list[str]]:
        """The rows as texts."""
        return [
            [
                row.name,
                *map(str, row.cells),
                f"{row.mean:.1f}",
                f"{row.hd95_mm:.1f}",
                f"{row.nsd:.1f}",
                str(row.cases),
            ]
            for row in self.rows
        ]


def tables_of(runs: Sequence[Run]) -> list[Table]:
    """One table for each way in which the runs were evaluated."""
    pooled: dict[str, dict[tuple[str, ...], Score]] = {}
    for run, name in zip(runs, row_names(runs), strict=True):
        for _, scores, rules in evaluations(run):
            rows = pooled.setdefault(rules, {})
            for score in scores:
                # `copy` stands once; in "blind" it uses the first run's matching of slices.
                method = COPY if score.method == COPY else name
                key = (method, score.case, score.label, score.support, f"{score.fold} {score.seed}")
                rows.setdefault(key, replace(score, method=method))
    return [table_of(rules, list(rows.values())) for rules, rows in pooled.items()]


def row_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its preset, with its folder where several configs share a preset."""
    configs = [hash_of(config_to_dict(run.config)) for run in runs]
    of_preset: dict[str, set[str]] = {}
    for run, config in zip(runs, configs, strict=True):
        of_preset.setdefault(run.config.preset, set()).add(config)
    return [
        run.config.preset
        if len(of_preset[run.config.preset]) == 1
        else f"{run.config.preset} ({run.folder.name})"
        for run in runs
    ]


def table_of(rules: str, scores: Sequence[Score]) -> Table:
    """The table of some scores."""
    labels = tuple(dict.fromkeys(score.label for score in scores))
    return Table(rules, labels, tuple(table_rows(scores)))


def as_text(tables: Sequence[Table]) -> str:
    """Tables for the terminal."""
    lines = []
    for table in tables:
        rows = [table.head, *table.lines()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
        lines += ["", f"Dice in percent, {table.rules}"]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


def as_markdown(tables: Sequence[Table]) -> str:
    """Tables for a document."""
    lines = []
    for table in tables:
        lines += [f"Dice in percent, {table.rules}.", ""]
        lines += [f"| {' | '.join(row)} |" for row in (table.head, ["---"] * len(table.head))]
        lines += [f"| {' | '.join(row)} |" for row in table.lines()]
        lines += [""]
    return "\n".join(lines)


def evaluations(run: Run) -> list[tuple[str, list[Score], str]]:
    """What a run was evaluated by: tag, scores, and the rules in a line; "paper" first."""
    paths = sorted(
        run.folder.glob("scores-*.csv"), key=lambda path: ("paper" not in path.stem, path)
    )
    found = []
    for path in paths:
        tag = path.stem.removeprefix("scores-")
        summary = read_json(run.folder / f"summary-{tag}.json")
        found.append((tag, read_scores(path), describe(summary)))
    return found


def table_rows(scores: Sequence[Score]) -> list[Row]:
    """One row for each method: Dice in percent, mean ± standard deviation over cases."""
    labels = list(dict.fromkeys(score.label for score in scores))
    rows = []
    for method in dict.fromkeys(score.method for score in scores):
        mine = [score for score in scores if score.method == method]
        cells = tuple(_cell([s.dice for s in mine if s.label == label]) for label in labels)
        rows.append(
            Row(
                method,
                cells,
                mean=fmean(cell.mean for cell in cells),
                hd95_mm=fmean(score.hd95_mm for score in mine),
                nsd=100 * fmean(score.nsd for score in mine),
                cases=len({(score.case, score.support) for score in mine}),
            )
        )
    return rows


def _cell(dices: list[float]) -> Cell:
    return Cell(100 * fmean(dices), 100 * stdev(dices) if len(dices) > 1 else 0.0)
