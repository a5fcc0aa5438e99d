"""Tables of one or several runs, from their scores files; nothing is typed.

Runs that differ in fold and seed only make one row, named by the benchmark's plan or by the preset.
Every table carries `copy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from dpcenet.errors import RunError
from dpcenet.evaluation.report.published import PublishedRow, published, published_rows
from dpcenet.evaluation.report.rules import rules_of
from dpcenet.evaluation.report.run_labels import DataKey, budget, data_key, row_names
from dpcenet.evaluation.report.statistics import (
    SIGNIFICANT,
    common_cases,
    interval_of_mean,
    p_against,
    wins,
)
from dpcenet.evaluation.scores import COPY, REGISTER, Score, read_scores
from dpcenet.system.files import read_json
from dpcenet.system.texts import Saying
from dpcenet.training.run_folder import Run

REFERENCE = "DPCENet"
MEAN = "mean"


@dataclass(frozen=True)
class Cell:
    """Percent Dice of one method and one label, or of the mean of the labels.

    Attributes:
        mean: over cases; of the labels' means where it is their mean.
        sd: standard deviation over cases; 0 for one case.
        seed_sd: standard deviation of the mean over seeds; None for one seed.
        low, high: 95 % bootstrap interval of the mean over cases.
        p: of the difference to the reference, corrected by Holm over the methods; None for the
            reference itself, and in a table without one.
        wins: cases in which it is better than the reference; None as for p.
        best: the largest of its column, and significantly larger than every other one.
    """

    mean: float
    sd: float
    seed_sd: float | None
    low: float
    high: float
    p: float | None = None
    wins: int | None = None
    best: bool = False

    def __str__(self) -> str:
        seeds = "" if self.seed_sd is None else f" (seeds {self.seed_sd:.1f})"
        return f"{self.mean:.1f} ± {self.sd:.1f}{seeds}"


@dataclass(frozen=True)
class Row:
    """A method's line: a cell for each label, their mean, and further means.

    A label that was not scored has no cell; the line then has no mean.
    """

    name: str
    cells: tuple[Cell | None, ...]
    mean: Cell | None
    hd95_mm: float
    nsd: float
    cases: int
    seeds: int


@dataclass(frozen=True)
class Table:
    """Scores of several methods under one protocol.

    Attributes:
        rules: how the numbers were made, in a line.
        labels: columns.
        rows: methods.
        data: data set and setting; None where only one run is shown.
        budget: what was trained, in a line; empty where the runs do not say.
    """

    rules: tuple[Saying, ...]
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    data: DataKey | None = None
    budget: tuple[Saying, ...] = ()

    @property
    def compared(self) -> bool:
        """Whether methods were tested against the reference."""
        return any(row.mean is not None and row.mean.p is not None for row in self.rows)

    def published(self, row: Row) -> list[PublishedRow]:
        """What papers print for a row's method and the same labels."""
        found = published_rows(self.data, row.name) if self.data else []
        return [line for line in found if line.labels == self.labels]


def tables_of(runs: Sequence[Run]) -> list[Table]:
    """One table for each data set and each way in which the runs were evaluated."""
    scores: dict[tuple[DataKey, str, tuple[Saying, ...]], dict[tuple[str, ...], Score]] = {}
    makers: dict[tuple[DataKey, str, tuple[Saying, ...]], list[Run]] = {}
    for run, name in zip(runs, row_names(runs), strict=True):
        for tag, of_run, rules in evaluations(run):
            key = (data_key(run), tag, rules)
            makers.setdefault(key, []).append(run)
            for score in of_run:
                # `copy` stands once; in "blind" it uses the first run's matching of slices.
                method = score.method if score.method in (COPY, REGISTER) else name
                unit = (method, score.case, score.label, score.support, f"{score.fold}")
                rows = scores.setdefault(key, {})
                rows.setdefault((*unit, f"{score.seed}"), replace(score, method=method))
    return [
        replace(table_of(key[2], list(rows.values())), data=key[0], budget=budget(makers[key]))
        for key, rows in scores.items()
    ]


def evaluations(run: Run) -> list[tuple[str, list[Score], tuple[Saying, ...]]]:
    """How a run was evaluated: tag, scores, and the rules in a line; "paper" first.

    How many slices Setting 2 removed and how many neighbours a method takes differ between runs of
    one table, so they are not among its rules.
    """
    paths = sorted(
        run.folder.glob("scores-*.csv"), key=lambda path: ("paper" not in path.stem, path)
    )
    found = []
    for path in paths:
        tag = path.stem.removeprefix("scores-")
        summary = read_json(run.folder / f"summary-{tag}.json", error=RunError, finite=False)
        shared = {**summary, "exclusion": None, "supports_trained_on": []}
        if "near" not in tag:
            shared["neighbours"] = None
        found.append((tag, read_scores(path), rules_of(shared)))
    return found


def table_of(rules: tuple[Saying, ...], scores: Sequence[Score]) -> Table:
    """The table of some scores."""
    labels = in_order(score.label for score in scores)
    methods: dict[str, list[Score]] = {}
    for score in scores:
        methods.setdefault(score.method, []).append(score)
    columns = _columns(labels, methods)
    rows = [_row(name, mine, labels, columns) for name, mine in methods.items()]
    return Table(rules, labels, tuple(rows))


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels, each once, in the order of the papers; others as they come."""
    found = dict.fromkeys(labels)
    known = [name for group in published().labels.values() for name in group if name in found]
    return tuple(dict.fromkeys([*known, *found]))


def case_dice(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Label → case → percent Dice of one method, the mean over seeds, supports and folds.

    Under "mean" stand the means of the labels that a case has.
    """
    collected: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        collected.setdefault(score.label, {}).setdefault(score.case, []).append(score.dice)
    units = {
        label: {case: 100 * fmean(values) for case, values in cases.items()}
        for label, cases in collected.items()
    }
    names = dict.fromkeys(case for cases in units.values() for case in cases)
    means = {
        name: fmean(cases[name] for cases in units.values() if name in cases) for name in names
    }
    return units | {MEAN: means}


def _columns(labels: Sequence[str], methods: dict[str, list[Score]]) -> dict[str, dict[str, Cell]]:
    """Label → method → cell, with tests against the reference and the best marked.

    The mean is of the methods that have every label.
    """
    units = {name: case_dice(mine) for name, mine in methods.items()}
    columns: dict[str, dict[str, Cell]] = {}
    for label in (*labels, MEAN):
        cells = {
            name: _cell(label, of_method[label], methods[name])
            for name, of_method in units.items()
            if label in of_method and (label != MEAN or of_method.keys() >= set(labels))
        }
        if label == MEAN:
            for name, cell in cells.items():
                mean = fmean(columns[each][name].mean for each in labels)
                cells[name] = replace(cell, mean=mean)
        values = {name: units[name][label] for name in cells}
        columns[label] = _tested(cells, values, reference_of(methods))
    return columns


def _cell(label: str, cases: dict[str, float], scores: Sequence[Score]) -> Cell:
    """Statistics over the cases of one label of a method, of which all scores are given."""
    seeds = sorted({score.seed for score in scores})
    by_seed = [case_dice([s for s in scores if s.seed == seed]) for seed in seeds]
    means = [fmean(seed[label].values()) for seed in by_seed if label in seed]
    values = [*cases.values()]
    low, high = interval_of_mean(values)
    return Cell(
        mean=fmean(values),
        sd=stdev(values) if len(values) > 1 else 0.0,
        seed_sd=stdev(means) if len(means) > 1 else None,
        low=low,
        high=high,
    )


def _row(
    name: str, scores: Sequence[Score], labels: Sequence[str], columns: dict[str, dict[str, Cell]]
) -> Row:
    """A method's line: its cells, and means over all its scores."""
    return Row(
        name,
        cells=tuple(columns[label].get(name) for label in labels),
        mean=columns[MEAN].get(name),
        hd95_mm=fmean(score.hd95_mm for score in scores),
        nsd=100 * fmean(score.nsd for score in scores),
        cases=len({score.case for score in scores}),
        seeds=len({score.seed for score in scores}),
    )


def reference_of(names: Iterable[str]) -> str | None:
    """The method that others are compared with: DPCENet, by its line or its preset."""
    return next((n for n in names if n == REFERENCE or n.startswith("dpcenet/")), None)


def _tested(
    cells: dict[str, Cell], values: dict[str, dict[str, float]], reference: str | None
) -> dict[str, Cell]:
    """The cells of one column with p, wins and best; values: method → case → Dice."""
    found = dict(cells)
    if reference in values:
        for name, p in p_against(values, reference).items():
            pairs = common_cases(values[name], values[reference])
            found[name] = replace(found[name], p=p, wins=wins(*pairs))
    best = max(cells, key=lambda name: cells[name].mean, default=None)
    if best is not None and len(cells) > 1:
        sure = all(p < SIGNIFICANT for p in p_against(values, best).values())
        found[best] = replace(found[best], best=sure)
    return found
