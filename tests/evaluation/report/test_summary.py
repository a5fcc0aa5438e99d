"""Two sentences: which method is best, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

from dpcenet.evaluation.report.run_labels import DataKey
from dpcenet.evaluation.report.summary import in_two_sentences
from dpcenet.evaluation.report.tables import Cell, Row, Table


def table(best: bool = False, **means: float | None) -> Table:
    rows = []
    for name, mean in means.items():
        cell = None if mean is None else Cell(mean, 0.0, None, 0.0, 0.0)
        rows.append(Row(name, (cell,), cell, 0.0, 0.0, cases=4, seeds=1))
    if best and rows[0].mean is not None:
        rows[0] = replace(rows[0], mean=replace(rows[0].mean, best=True))
    return Table((), ("liver",), tuple(rows), DataKey("chaos", 1))


def test_the_best_its_lead_and_the_pasted_mask() -> None:
    text = in_two_sentences(table(A=70.0, B=64.5, copy=50.0))
    assert text == (
        "On chaos, A has the highest mean Dice: 70.0 % over 4 cases, 20.0 points above the pasted "
        "mask (copy). It is 5.5 points better than the second, B; that is not significant: with "
        "these cases it may be chance."
    )


def test_significance_is_told() -> None:
    text = in_two_sentences(table(best=True, A=70.0, copy=50.0))
    assert text.endswith("the second, copy (the pasted mask), and significantly better than every "
                         "other method.")  # fmt: skip
    assert "points above" not in text


def test_a_pasted_mask_that_wins_is_named_as_such() -> None:
    assert "it only pastes the support's mask" in in_two_sentences(table(copy=50.0, A=10.0))


def test_methods_without_a_mean_are_left_out() -> None:
    assert "no other method" in in_two_sentences(table(A=70.0, B=None))
    assert in_two_sentences(table(B=None)).startswith("No method was scored")
