"""Cells of tables that spreadsheets open."""

from __future__ import annotations

import pytest

from dpcenet.system.tables import as_text


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_never_runs_as_a_formula(name: str) -> None:
    assert as_text(name) == "'" + name


@pytest.mark.parametrize("cell", ["liver", "a=b", "", -1.5, 3])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert as_text(cell) is cell
