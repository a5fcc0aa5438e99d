"""The forms of a table: terminal, Markdown, HTML rows, CSV, LaTeX. All show the same numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from dpcenet.evaluation.report.published import Printed
from dpcenet.evaluation.report.tables import MEAN, Cell, Row, Table

NOTHING = "–"
FAULT = "*"
COLUMNS = (
    *("data", "rules", "method", "label", "dice", "sd", "seed_sd", "low", "high"),
    *("p", "wins", "best", "cases", "seeds"),
)


@dataclass(frozen=True)
class Line:
    """One line of a table as texts.

    Attributes:
        cells: the texts, the name first.
        bold: which of them are bold.
        printed: whether it is quoted from print, not computed here.
        notes: what is wrong with it.
    """

    cells: tuple[str, ...]
    bold: tuple[bool, ...]
    printed: bool = False
    notes: tuple[str, ...] = ()


def head(table: Table) -> list[str]:
    """Names of the columns."""
    tests = ["p", "wins"] if table.compared else []
    return ["method", *table.labels, MEAN, "95 %", *tests, "HD95 mm", "NSD %", "cases"]


def lines(table: Table, published: bool = False) -> list[Line]:
    """The lines, each method's followed by what is in print for it if that is asked for."""
    found = []
    for row in table.rows:
        found.append(_line(table, row))
        if published:
            found += [_printed_line(table, *pair) for pair in table.printed(row)]
    return found


def _line(table: Table, row: Row) -> Line:
    cells = [*row.cells, row.mean]
    texts = [
        row.name,
        *(str(cell) if cell else NOTHING for cell in row.cells),
        f"{row.mean.mean:.1f}" if row.mean else NOTHING,
        f"{row.mean.low:.1f}–{row.mean.high:.1f}" if row.mean else NOTHING,
    ]
    if table.compared:
        texts += _tests(row.mean, row.cases)
    texts += [f"{row.hd95_mm:.1f}", f"{row.nsd:.1f}", str(row.cases)]
    bold = [False, *(cell is not None and cell.best for cell in cells)]
    return Line(tuple(texts), tuple(bold + [False] * (len(texts) - len(bold))))


def _tests(mean: Cell | None, cases: int) -> list[str]:
    """p and wins of the mean against the reference."""
    if mean is None or mean.p is None:
        return [NOTHING, NOTHING]
    return [f"{mean.p:.3f}" if mean.p >= 0.001 else "<0.001", f"{mean.wins}/{cases}"]


def _printed_line(table: Table, source: str, line: Printed) -> Line:
    """A quoted line; cells with a fault carry a star."""
    wrong_mean = any("mean" in fault for fault in line.faults)
    twins = [
        FAULT if any(label in fault for fault in line.faults if "both" in fault) else ""
        for label in line.labels
    ]
    texts = [
        f"({source})",
        *(f"{value:.2f}{mark}" for value, mark in zip(line.cells, twins, strict=True)),
        f"{line.mean:.2f}{FAULT if wrong_mean else ''}",
    ]
    texts += [""] * (len(head(table)) - len(texts))
    return Line(tuple(texts), (False,) * len(texts), printed=True, notes=line.faults)


def caption(table: Table) -> str:
    """What stands above a table."""
    data = f"{table.data.rpartition('-')[0]}: " if table.data.rpartition("-")[0] else ""
    trained = f" ({table.budget})" if table.budget else ""
    return f"{data}Dice in percent, {table.rules}{trained}"


def notes(table: Table, published: bool = False) -> list[str]:
    """What stands below a table."""
    found = [
        "mean ± standard deviation over cases"
        + (" (seeds: deviation of the mean over seeds)" if _several_seeds(table) else "")
        + "; 95 %: bootstrap interval of the mean over cases.",
    ]
    if table.compared:
        found.append(
            "p: paired Wilcoxon test of the cases' means against DPCENet, corrected by Holm over "
            f"the methods; wins: cases in which the method is better. {_least_p(table)}"
            "Bold: best of its column, and significantly (0.05) better than every other line."
        )
    if published:
        found += _sources(table)
    return found


def _several_seeds(table: Table) -> bool:
    return any(cell and cell.seed_sd is not None for row in table.rows for cell in row.cells)


def _least_p(table: Table) -> str:
    """What so few cases can show at all."""
    cases = max(row.cases for row in table.rows)
    return f"With {cases} cases no single p is below {2 / 2**cases:.2g}. " if cases < 8 else ""


def _sources(table: Table) -> list[str]:
    """Where the quoted lines come from, and what is wrong with them."""
    quoted = {source: line for row in table.rows for source, line in table.printed(row)}
    found = [f"({name}): {line.source}." for name, line in quoted.items()]
    faults = [
        f"{row.name} ({source}): {fault}"
        for row in table.rows
        for source, line in table.printed(row)
        for fault in line.faults
    ]
    return found + ([f"{FAULT} {'; '.join(faults)}."] if faults else [])


def as_text(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for the terminal."""
    parts = []
    for table in tables:
        rows = [tuple(head(table)), *(line.cells for line in lines(table, published))]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        parts += ["", caption(table)]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            parts.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(parts)


def as_markdown(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for a document."""
    parts = []
    for table in tables:
        names = head(table)
        parts += [f"{caption(table)}.", ""]
        parts += [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names))]
        for line in lines(table, published):
            cells = (
                f"**{t}**" if b else t.replace("*", "\\*")
                for t, b in zip(line.cells, line.bold, strict=True)
            )
            parts.append(f"| {' | '.join(cells)} |")
        parts += ["", *(note.replace("*", "\\*") for note in notes(table, published)), ""]
    return "\n".join(parts)


def as_latex(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for a paper; they need the package booktabs."""
    parts = []
    for table in tables:
        names = head(table)
        parts += [
            "\\begin{table}",
            f"\\caption{{{_latex(caption(table))}. {_latex(' '.join(notes(table, published)))}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
            "\\toprule",
            " & ".join(map(_latex, names)) + r" \\",
            "\\midrule",
        ]
        for line in lines(table, published):
            cells = (
                f"\\textbf{{{_latex(t)}}}" if b else _latex(t)
                for t, b in zip(line.cells, line.bold, strict=True)
            )
            parts.append(" & ".join(cells) + r" \\")
        parts += ["\\bottomrule", "\\end{tabular}", "\\end{table}", ""]
    return "\n".join(parts)


def as_csv(tables: Sequence[Table]) -> str:
    """Every cell on a line of its own, at full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for table in tables:
        for row in table.rows:
            for label, cell in zip((*table.labels, MEAN), (*row.cells, row.mean), strict=True):
                if cell is not None:
                    numbers = (cell.mean, cell.sd, cell.seed_sd, cell.low, cell.high, cell.p)
                    ends = (cell.wins, int(cell.best), row.cases, row.seeds)
                    writer.writerow([table.data, table.rules, row.name, label, *numbers, *ends])
    return stream.getvalue()


def _latex(text: str) -> str:
    """Text with what LaTeX reads otherwise escaped."""
    for char, command in {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
        "±": r"$\pm$", "–": "--", "<": "$<$", "×": r"$\times$",
    }.items():  # fmt: skip
        text = text.replace(char, command)
    return text
