"""Tables of one or several runs, from their scores files; nothing is typed.

Runs that differ in fold and seed only make one row, named by the benchmark's plan or by the preset.
Every table carries `copy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from dpcenet.evaluation.report.published import ABDOMEN, HEART, Printed, printed
from dpcenet.evaluation.report.run_labels import budget, data_name, row_names
from dpcenet.evaluation.report.statistics import SIGNIFICANT, holm, interval_of_mean, paired_p, wins
from dpcenet.evaluation.scores import COPY, Score, describe, read_scores
from dpcenet.system.files import read_json
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
        rules: what they were made by, in a line.
        labels: columns.
        rows: methods.
        data: name of the data set and setting, such as "chaos-1".
        budget: what was trained, in a line; empty where the runs do not say.
    """

    rules: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    data: str = ""
    budget: str = ""

    @property
    def compared(self) -> bool:
        """Whether methods were tested against the reference."""
        return any(row.mean is not None and row.mean.p is not None for row in self.rows)

    def printed(self, row: Row) -> list[tuple[str, Printed]]:
        """What is in print for a row, with a name for each source."""
        sources = {"DPCENet paper": False, "own paper": True}
        found = {name: printed(self.data, row.name, own) for name, own in sources.items()}
        return [(name, line) for name, line in found.items() if line and line.labels == self.labels]


def tables_of(runs: Sequence[Run]) -> list[Table]:
    """One table for each data set and each way in which the runs were evaluated."""
    pooled: dict[tuple[str, str, str], dict[tuple[str, ...], Score]] = {}
    makers: dict[tuple[str, str, str], list[Run]] = {}
    for run, name in zip(runs, row_names(runs), strict=True):
        data = f"{data_name(run)}-{run.flags.setting}"
        for tag, scores, rules in evaluations(run):
            makers.setdefault((data, tag, rules), []).append(run)
            rows = pooled.setdefault((data, tag, rules), {})
            for score in scores:
                # `copy` stands once; in "blind" it uses the first run's matching of slices.
                method = COPY if score.method == COPY else name
                key = (method, score.case, score.label, score.support, f"{score.fold} {score.seed}")
                rows.setdefault(key, replace(score, method=method))
    return [
        replace(table_of(key[2], list(rows.values())), data=key[0], budget=budget(makers[key]))
        for key, rows in pooled.items()
    ]


def evaluations(run: Run) -> list[tuple[str, list[Score], str]]:
    """What a run was evaluated by: tag, scores, and the rules in a line; "paper" first.

    How many slices Setting 2 removed and how many neighbours a method takes differ between runs of
    one table, so they are not among its rules.
    """
    paths = sorted(
        run.folder.glob("scores-*.csv"), key=lambda path: ("paper" not in path.stem, path)
    )
    found = []
    for path in paths:
        tag = path.stem.removeprefix("scores-")
        summary = read_json(run.folder / f"summary-{tag}.json")
        shared = {**summary, "exclusion": None, "supports_trained_on": []}
        if "near" not in tag:
            shared["neighbours"] = 0
        found.append((tag, read_scores(path), describe(shared)))
    return found


def table_of(rules: str, scores: Sequence[Score]) -> Table:
    """The table of some scores."""
    labels = ordered({score.label: None for score in scores})
    rows = [_row(name, labels, scores) for name in dict.fromkeys(s.method for s in scores)]
    units = {row.name: case_dice(scores, row.name) for row in rows}
    return Table(rules, labels, tuple(_compare(rows, labels, units)))


def ordered(labels: Sequence[str] | dict[str, None]) -> tuple[str, ...]:
    """Labels in the order of the papers, others as they come."""
    known = [name for name in (*ABDOMEN, *HEART) if name in labels]
    return (*known, *(name for name in labels if name not in known))


def case_dice(scores: Sequence[Score], method: str) -> dict[str, dict[str, float]]:
    """Label → case → percent Dice, the mean over seeds, supports and folds.

    Under "mean" stand the means of the labels that a case has.
    """
    collected: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        if score.method == method:
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


def _row(name: str, labels: Sequence[str], scores: Sequence[Score]) -> Row:
    mine = [score for score in scores if score.method == name]
    seeds = sorted({score.seed for score in mine})
    units = case_dice(mine, name)
    by_seed = [case_dice([s for s in mine if s.seed == seed], name) for seed in seeds]

    def cell(label: str) -> Cell:
        values = list(units[label].values())
        means = [fmean(seed[label].values()) for seed in by_seed if label in seed]
        low, high = interval_of_mean(values)
        return Cell(
            mean=fmean(values),
            sd=stdev(values) if len(values) > 1 else 0.0,
            seed_sd=stdev(means) if len(means) > 1 else None,
            low=low,
            high=high,
        )

    cells = [cell(label) for label in labels if label in units]
    complete = len(cells) == len(labels)
    return Row(
        name,
        tuple(cell(label) if label in units else None for label in labels),
        mean=replace(cell(MEAN), mean=fmean(c.mean for c in cells)) if complete else None,
        hd95_mm=fmean(score.hd95_mm for score in mine),
        nsd=100 * fmean(score.nsd for score in mine),
        cases=len(units[MEAN]),
        seeds=len(seeds),
    )


def _compare(
    rows: list[Row], labels: Sequence[str], units: dict[str, dict[str, dict[str, float]]]
) -> list[Row]:
    """The rows with their tests against the reference, and the best of each column marked."""
    names = [row.name for row in rows]
    reference = next((n for n in names if n == REFERENCE or n.startswith("dpcenet/")), None)
    columns = []
    for index, label in enumerate((*labels, MEAN)):
        cells = {row.name: (*row.cells, row.mean)[index] for row in rows}
        present = {name: cell for name, cell in cells.items() if cell is not None}
        values = {name: units[name][label] for name in present}
        columns.append({**cells, **_tested(present, values, reference)})
    return [
        replace(row, cells=tuple(c[row.name] for c in columns[:-1]), mean=columns[-1][row.name])
        for row in rows
    ]


def _tested(
    cells: dict[str, Cell], values: dict[str, dict[str, float]], reference: str | None
) -> dict[str, Cell]:
    """The cells of one column with p, wins and best."""
    found = dict(cells)
    if reference in values:
        for name, p in against(values, reference).items():
            pairs = _pairs(values[name], values[reference])
            found[name] = replace(found[name], p=p, wins=wins(*pairs))
    best = max(cells, key=lambda name: cells[name].mean, default=None)
    if best is not None and len(cells) > 1:
        sure = all(p < SIGNIFICANT for p in against(values, best).values())
        found[best] = replace(found[best], best=sure)
    return found


def against(values: dict[str, dict[str, float]], reference: str) -> dict[str, float]:
    """Corrected p of every other method against one, over the cases that both have.

    Args:
        values: method → case → Dice.
        reference: one of the methods.
    """
    others = [name for name in values if name != reference]
    p_values = [paired_p(*_pairs(values[name], values[reference])) for name in others]
    return dict(zip(others, holm(p_values), strict=True))


def _pairs(one: dict[str, float], two: dict[str, float]) -> tuple[list[float], list[float]]:
    """Values of the cases that both have."""
    common = [case for case in one if case in two]
    return [one[case] for case in common], [two[case] for case in common]
