"""Tables against means and deviations that NumPy makes of the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpcenet.evaluation.report.run_labels import DataKey
from dpcenet.evaluation.report.tables import (
    Table,
    case_dice,
    evaluations,
    in_order,
    reference_of,
    table_of,
    tables_of,
)
from dpcenet.evaluation.scores import Score
from dpcenet.system.texts import joined
from reports import score, write_run

CASES = [f"c{number}" for number in range(8)]


def scores(method: str, dices: np.ndarray, **changes: object) -> list[Score]:
    """Scores of (label, case) Dice in percent."""
    return [
        score(method, case, label, dice / 100, **changes)
        for label, row in zip(("spleen", "liver"), dices, strict=True)
        for case, dice in zip(CASES, row, strict=False)
    ]


@pytest.fixture
def dices() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "DPCENet": random.uniform(70, 75, (2, 8)),
        "worse": random.uniform(20, 30, (2, 8)),
        "copy": random.uniform(40, 50, (2, 8)),
    }


def test_cells_are_means_over_cases(dices: dict[str, np.ndarray]) -> None:
    table = table_of((), [s for name, d in dices.items() for s in scores(name, d)])
    assert table.labels == ("liver", "spleen") and table.data is None
    for row in table.rows:
        spleen, liver = dices[row.name]
        for cell, values in zip(row.cells, (liver, spleen), strict=True):
            assert cell is not None and cell.mean == pytest.approx(values.mean())
            assert cell.sd == pytest.approx(values.std(ddof=1)) and cell.seed_sd is None
        assert row.mean is not None
        assert row.mean.mean == pytest.approx(dices[row.name].mean())
        assert row.mean.sd == pytest.approx(dices[row.name].mean(axis=0).std(ddof=1))
        assert (row.cases, row.seeds, row.hd95_mm, row.nsd) == (8, 1, 4.0, 50.0)


def test_the_best_is_bold_only_if_it_is_significant(dices: dict[str, np.ndarray]) -> None:
    rows = [s for name, d in dices.items() for s in scores(name, d)]
    by_name = {row.name: row for row in table_of((), rows).rows}
    assert by_name["DPCENet"].mean is not None and by_name["DPCENet"].mean.best
    assert by_name["DPCENet"].mean.p is None
    copy = by_name["copy"].mean
    assert copy is not None and copy.wins == 0
    assert copy.p == pytest.approx(2 * 2 / 2**8)  # all eight differences of one sign; two tests
    few = [s for s in rows if s.case in CASES[:3]]
    assert not any(cell and cell.best for row in table_of((), few).rows for cell in row.cells)


def test_seeds_of_a_case_are_averaged_first() -> None:
    one, two = np.array([[50.0, 60], [10, 20]]), np.array([[70.0, 60], [30, 40]])
    rows = [*scores("m", one, seed=0), *scores("m", two, seed=1)]
    assert case_dice(rows)["spleen"] == pytest.approx({"c0": 60, "c1": 60})
    (row,) = table_of((), rows).rows
    liver, spleen = row.cells
    assert spleen is not None and spleen.sd == pytest.approx(0)
    assert spleen.seed_sd == pytest.approx(np.std([55, 65], ddof=1))
    assert liver is not None and liver.mean == pytest.approx(25) and row.seeds == 2


def test_a_label_that_was_not_scored_leaves_a_gap_and_no_mean() -> None:
    found = [("a", "liver"), ("a", "spleen"), ("b", "liver")]
    rows = [score(method, "c", label, 0.5) for method, label in found]
    by_name = {row.name: row for row in table_of((), rows).rows}
    assert by_name["b"].cells[1] is None and by_name["b"].mean is None
    assert by_name["a"].mean is not None and by_name["a"].mean.sd == 0


def test_runs_of_one_line_are_pooled_and_copy_stands_once(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / str(fold),
            [score("tiny", f"c{fold}", "liver", 0.2 + fold / 10, fold=fold),
             score("copy", f"c{fold}", "liver", 0.1, fold=fold)],
            facts={"dataset": "chaos"},
            fold=fold,
        )
        for fold in (0, 1)
    ]  # fmt: skip
    again = write_run(
        tmp_path / "again", [score("copy", "c0", "liver", 0.9)], facts={"dataset": "chaos"}
    )
    (table,) = tables_of([*runs, again])
    assert table.data == DataKey("chaos", 1) and "fold 0, 1 of 5" in joined(table.budget)
    assert {row.name: row.cells[0].mean for row in table.rows if row.cells[0]} == pytest.approx(
        {"tiny": 25, "copy": 10}
    )


def test_each_protocol_has_a_table_and_paper_is_first(tmp_path: Path) -> None:
    rows = [score("tiny", "c", "liver", 0.2, protocol=tag) for tag in ("blind", "ep2", "paper")]
    run = write_run(tmp_path / "run", rows)
    assert [tag for tag, _, _ in evaluations(run)] == ["paper", "blind", "ep2"]
    assert [table.rules[0].key for table in tables_of([run])] == [
        "rules.paper", "rules.blind", "rules.ep2",
    ]  # fmt: skip


def test_labels_stand_in_the_papers_order() -> None:
    found = in_order(["tail", "spleen", "LV-BP", "liver", "tail", "RV"])
    assert found == ("liver", "spleen", "RV", "LV-BP", "tail")


def test_what_papers_print_must_be_of_the_same_labels() -> None:
    labels = ("liver", "right kidney", "left kidney", "spleen")
    rows = [score("RPT", "c", label, 0.5) for label in labels]
    plain = table_of((), rows)
    table = Table((), labels, plain.rows, DataKey("chaos", 1))
    assert [line.mean for line in table.published(table.rows[0])] == [71.61, 82.44]
    assert plain.published(plain.rows[0]) == []
    assert Table((), labels[:1], plain.rows, DataKey("chaos", 1)).published(plain.rows[0]) == []


def test_the_reference_is_dpcenet_by_line_or_preset() -> None:
    assert reference_of(["copy", "DPCENet"]) == "DPCENet"
    assert reference_of(["dpcenet/small", "copy"]) == "dpcenet/small"
    assert reference_of(["copy"]) is None
