"""The forms of a table: terminal, Markdown, HTML, CSV, LaTeX. All show the same numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from dpcenet.evaluation.report.published import PublishedRow
from dpcenet.evaluation.report.tables import MEAN, Cell, Row, Table
from dpcenet.system.texts import Words, joined, words

NOTHING = "–"
FAULT = "*"
CSV_HEAD = (
    *("data", "rules", "method", "label", "dice", "sd", "seed_sd", "low", "high"),
    *("p", "wins", "best", "cases", "seeds"),
)


@dataclass(frozen=True)
class Line:
    """One line of a table as texts.

    Attributes:
        cells: the texts, the name first.
        bold: which of them are bold.
        printed: whether it is quoted from a paper, not computed here.
    """

    cells: tuple[str, ...]
    bold: tuple[bool, ...]
    printed: bool = False


@dataclass(frozen=True)
class TableText:
    """A table as texts: above it, names of columns, lines, below it."""

    caption: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def table_text(table: Table, published: bool = False, say: Words | None = None) -> TableText:
    """The texts of a table.

    Args:
        table: the numbers.
        published: each method's line is followed by what papers print for it.
        say: the texts of a language; English by default.
    """
    say = say or words()
    data = f"{table.data.dataset}: " if table.data and table.data.dataset else ""
    spent = joined(table.budget, say)
    trained = say["caption.budget"].format(budget=spent) if spent else ""
    tests = ["p", say["head.wins"]] if table.compared else []
    scored = (*table.labels, say["head.mean"], "95 %", *tests, "HD95 mm", "NSD %")
    head = (say["head.method"], *scored, say["head.cases"])
    lines = []
    for row in table.rows:
        lines.append(_line(table, row))
        if published:
            lines += [_published_line(printed, len(head)) for printed in table.published(row)]
    return TableText(
        caption=say["caption"].format(data=data, rules=joined(table.rules, say), budget=trained),
        head=head,
        lines=tuple(lines),
        notes=(*_notes(table, say), *(_sources(table, say) if published else [])),
    )


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


def _published_line(row: PublishedRow, columns: int) -> Line:
    """A quoted line; cells with a fault carry a star."""
    repeated = {label for pair in row.repeated for label in pair}
    texts = [
        f"({row.source})",
        *(
            f"{value:.2f}{FAULT if label in repeated else ''}"
            for label, value in zip(row.labels, row.cells, strict=True)
        ),
        f"{row.mean:.2f}{FAULT if row.mean_is_wrong else ''}",
    ]
    texts += [""] * (columns - len(texts))
    return Line(tuple(texts), (False,) * columns, printed=True)


def _notes(table: Table, say: Words) -> list[str]:
    """How the numbers of a table are read."""
    several_seeds = any(cell and cell.seed_sd is not None for r in table.rows for cell in r.cells)
    seeds = say["note.seeds"] if several_seeds else ""
    found = [say["note.cells"] + seeds + say["note.interval"]]
    if table.compared:
        cases = max(row.cases for row in table.rows)
        # What so few cases can show at all.
        least = say["note.least"].format(cases=cases, p=f"{2 / 2**cases:.2g}") if cases < 8 else ""
        found.append(say["note.tests"].format(least=least))
    return found


def _sources(table: Table, say: Words) -> list[str]:
    """Where the quoted lines come from, and what is wrong with them."""
    quoted = [(row.name, line) for row in table.rows for line in table.published(row)]
    references = {line.source: line.reference for _, line in quoted}
    faults = [
        f"{name} ({line.source}): {fault.said(say)}"
        for name, line in quoted
        for fault in line.faults
    ]
    found = [f"({source}): {reference}." for source, reference in references.items()]
    return found + ([f"{FAULT} {say['list'].join(faults)}."] if faults else [])


def as_text(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for the terminal."""
    parts = []
    for text in (table_text(table, published) for table in tables):
        rows = [text.head, *(line.cells for line in text.lines)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        parts += ["", text.caption]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            parts.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(parts)


def as_markdown(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for a document."""
    parts = []
    for text in (table_text(table, published) for table in tables):
        lines = [
            [
                f"**{cell}**" if bold else _markdown(cell)
                for cell, bold in zip(line.cells, line.bold, strict=True)
            ]
            for line in text.lines
        ]
        parts += [f"{text.caption}.", "", *markdown_rows([text.head, *lines])]
        parts += ["", *map(_markdown, text.notes), ""]
    return "\n".join(parts)


def markdown_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is its head."""
    return [f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]


def _markdown(text: str) -> str:
    return text.replace("*", "\\*")


def as_latex(tables: Sequence[Table], published: bool = False) -> str:
    """Tables for a paper; they need the package booktabs."""
    parts = []
    for text in (table_text(table, published) for table in tables):
        parts += [
            "\\begin{table}",
            f"\\caption{{{_latex(text.caption)}. {_latex(' '.join(text.notes))}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(text.head) - 1)}}}",
            "\\toprule",
            " & ".join(map(_latex, text.head)) + r" \\",
            "\\midrule",
        ]
        for line in text.lines:
            cells = (
                f"\\textbf{{{_latex(cell)}}}" if bold else _latex(cell)
                for cell, bold in zip(line.cells, line.bold, strict=True)
            )
            parts.append(" & ".join(cells) + r" \\")
        parts += ["\\bottomrule", "\\end{tabular}", "\\end{table}", ""]
    return "\n".join(parts)


def _latex(text: str) -> str:
    """Text with the characters escaped that have a meaning in LaTeX."""
    for char, command in {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
        "±": r"$\pm$", "–": "--", "<": "$<$", "×": r"$\times$",
    }.items():  # fmt: skip
        text = text.replace(char, command)
    return text


def as_csv(tables: Sequence[Table]) -> str:
    """Every cell on a line of its own, at full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(CSV_HEAD)
    for table in tables:
        rules = joined(table.rules)
        for row in table.rows:
            for label, cell in zip((*table.labels, MEAN), (*row.cells, row.mean), strict=True):
                if cell is not None:
                    numbers = (cell.mean, cell.sd, cell.seed_sd, cell.low, cell.high, cell.p)
                    ends = (cell.wins, int(cell.best), row.cases, row.seeds)
                    writer.writerow([table.data, rules, row.name, label, *numbers, *ends])
    return stream.getvalue()
