"""Every form of a table shows the same numbers; faults in print are starred."""

from __future__ import annotations

import csv
import io

import pytest

from dpcenet.evaluation.report.run_labels import DataKey
from dpcenet.evaluation.report.table_formats import (
    as_csv,
    as_latex,
    as_markdown,
    as_text,
    markdown_rows,
    table_text,
)
from dpcenet.evaluation.report.tables import Cell, Row, Table
from dpcenet.system.texts import Saying, saying, words

LIVER = Cell(71.26, 3.04, None, 60.0, 80.0, best=True)
MEAN = Cell(71.26, 3.04, None, 60.04, 80.06)
COPY = Cell(40.0, 5.0, 1.25, 38.0, 42.0, p=0.0004, wins=1)
TABLE = Table(
    (saying("rules.folds", scheme="paper_rules & more"),),
    ("liver",),
    (
        Row("DPCENet", (LIVER,), MEAN, hd95_mm=12.34, nsd=56.78, cases=4, seeds=1),
        Row("copy", (COPY,), COPY, hd95_mm=20.0, nsd=10.0, cases=4, seeds=2),
        Row("part", (None,), None, hd95_mm=1.0, nsd=2.0, cases=3, seeds=1),
    ),
    DataKey("chaos", 2),
    (saying("budget.steps", steps="4"),),
)
LINES = [
    ["DPCENet", "71.3 ± 3.0", "71.3", "60.0–80.1", "–", "–", "12.3", "56.8", "4"],
    ["copy", "40.0 ± 5.0 (seeds 1.2)", "40.0", "38.0–42.0", "<0.001", "1/4", "20.0", "10.0", "4"],
    ["part", "–", "–", "–", "–", "–", "1.0", "2.0", "3"],
]
HEAD = ["method", "liver", "mean", "95 %", "p", "wins", "HD95 mm", "NSD %", "cases"]


def test_the_texts_of_a_table() -> None:
    text = table_text(TABLE)
    assert text.caption == "chaos: Dice in percent, folds paper_rules & more (4 steps)"
    assert list(text.head) == HEAD and [list(line.cells) for line in text.lines] == LINES
    assert [line.bold.index(True) if any(line.bold) else None for line in text.lines] == [
        1, None, None,
    ]  # fmt: skip
    assert "seeds" in text.notes[0] and "no single p is below 0.12" in text.notes[1]


def test_without_a_reference_there_are_no_tests() -> None:
    text = table_text(Table((Saying("budget.nothing"),), ("liver",), TABLE.rows[:1]))
    assert text.caption == "Dice in percent, nothing was trained" and "wins" not in text.head
    assert len(text.notes) == 1 and "seeds" not in text.notes[0]


def test_terminal_and_markdown_show_the_texts() -> None:
    lines = as_text([TABLE]).splitlines()
    assert lines[1].startswith("chaos: ")
    assert [line.split() for line in lines[2:]] == [" ".join(row).split() for row in [HEAD, *LINES]]
    assert len({len(line) for line in lines[2:]}) == 1  # columns stand below each other
    markdown = [line for line in as_markdown([TABLE]).splitlines() if "|" in line]
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown]
    assert shown[0] == HEAD and shown[2] == ["DPCENet", "**71.3 ± 3.0**", *LINES[0][2:]]
    assert shown[3:] == LINES[1:]


def test_markdown_rows() -> None:
    assert markdown_rows([("a", "b"), ("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_latex_is_escaped() -> None:
    text = as_latex([TABLE])
    assert r"paper\_rules \& more" in text and r"\textbf{71.3 $\pm$ 3.0}" in text
    assert r"95 \%" in text and "60.0--80.1" in text and "$<$0.001" in text
    assert text.count(r"\\") == 4 and r"\begin{tabular}{lrrrrrrrr}" in text


def test_csv_holds_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([TABLE]))))
    assert [(row["method"], row["label"]) for row in rows] == [
        ("DPCENet", "liver"), ("DPCENet", "mean"), ("copy", "liver"), ("copy", "mean"),
    ]  # fmt: skip
    assert rows[0]["data"] == "chaos-2" and float(rows[1]["low"]) == 60.04
    assert (rows[0]["best"], rows[0]["p"], rows[2]["p"]) == ("1", "", "0.0004")


@pytest.fixture
def quoted() -> Table:
    """A line of which a paper prints numbers with a fault."""
    cell = Cell(50.0, 1.0, None, 49.0, 51.0)
    row = Row("Q-Net", (cell,) * 4, cell, hd95_mm=1.0, nsd=2.0, cases=9, seeds=1)
    labels = ("liver", "right kidney", "left kidney", "spleen")
    return Table((), labels, (row,), DataKey("chaos", 2))


def test_faults_in_print_are_starred(quoted: Table) -> None:
    text = table_text(quoted, published=True)
    ours, theirs = text.lines
    assert not ours.printed and theirs.printed
    assert theirs.cells[:6] == ("(DPCENet paper)", "74.71*", "74.71*", "64.15", "71.52", "71.27")
    assert len(theirs.cells) == len(theirs.bold) == len(text.head)
    assert text.notes[-1] == "* Q-Net (DPCENet paper): liver and right kidney are both 74.71."
    assert "74.71\\*" in as_markdown([quoted], published=True)
    assert len(table_text(quoted).lines) == 1


def test_a_quoted_line_in_chinese(quoted: Table) -> None:
    text = table_text(quoted, True, words("zh"))
    assert text.notes[-1] == "* Q-Net (DPCENet paper): liver 和 right kidney 同为 74.71."
