"""Printed numbers: their arithmetic errors are found, and nothing is shown that is not printed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.evaluation.report import published as module
from dpcenet.evaluation.report.published import published_rows
from dpcenet.evaluation.report.run_labels import DataKey

FILE = Path(dpcenet.__file__).parent / "assets" / "published.yaml"
LINES = {
    (paper["name"], table["dataset"], table["setting"], method): numbers
    for paper in yaml.safe_load(FILE.read_text())["papers"]
    for table in paper["tables"]
    for method, numbers in table["rows"].items()
}


@pytest.mark.parametrize("line", LINES, ids=str)
def test_faults_are_those_that_arithmetic_shows(line: tuple[str, str, int, str]) -> None:
    paper, dataset, setting, method = line
    *cells, mean = LINES[line]
    (row,) = (r for r in published_rows(DataKey(dataset, setting), method) if r.source == paper)
    assert row.cells == tuple(cells) and row.mean == mean
    assert len(row.labels) == len(cells) == (3 if dataset == "cmr" else 4)
    assert row.mean_is_wrong == (abs(sum(cells) / len(cells) - mean) > 0.011)
    assert bool(row.repeated) == any(a == b for a, b in pairwise(cells))
    assert bool(row.faults) == (row.mean_is_wrong or bool(row.repeated))


def test_the_known_faults_of_the_paper() -> None:
    def faults(dataset: str, setting: int, method: str) -> tuple[str, ...]:
        return tuple(map(str, published_rows(DataKey(dataset, setting), method)[0].faults))

    assert faults("sabs", 1, "PANet") == ("the columns' mean is 55.88, printed 57.88",)
    assert faults("chaos", 2, "Q-Net") == ("liver and right kidney are both 74.71",)
    wrong = [line for line in LINES if line[0] == "DPCENet paper" and faults(*line[1:])]
    assert sorted(line[1:] for line in wrong) == [
        ("chaos", 2, "CAT-Net"), ("chaos", 2, "PANet"), ("chaos", 2, "Q-Net"),
        ("cmr", 1, "PANet"), ("sabs", 1, "ADNet"), ("sabs", 1, "PANet"),
    ]  # fmt: skip


def test_both_papers_are_quoted_where_both_print() -> None:
    rows = published_rows(DataKey("chaos", 1), "RPT")
    assert [(row.source, row.mean) for row in rows] == [
        ("DPCENet paper", 71.61),
        ("own paper", 82.44),
    ]
    assert "doi" in rows[0].reference


def test_what_is_not_printed_is_not_shown() -> None:
    assert [row.source for row in published_rows(DataKey("chaos", 1), "ADNet")] == ["DPCENet paper"]
    assert published_rows(DataKey("acdc", 1), "DPCENet") == []
    assert published_rows(DataKey("chaos", 1), "dpcenet/tuned") == []


@pytest.mark.parametrize(
    "text",
    [
        "{labels: {}, papers: [], more: 1}",
        "{labels: {}, papers: [{name: a, reference: b, tables: [], year: 2025}]}",
        "{labels: {a: [x]}, papers: [{name: a, reference: b, tables: "
        "[{dataset: d, setting: 1, labels: a, rows: {m: [101, 50]}}]}]}",
        "{labels: {a: [x]}, papers: [{name: a, reference: b, tables: "
        "[{dataset: d, setting: 3, labels: a, rows: {}}]}]}",
    ],
)
def test_a_wrong_file_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "published.yaml").write_text(text)
    monkeypatch.setattr(module, "asset", lambda name: tmp_path / name)
    with pytest.raises(ConfigError, match=r"published\.yaml: "):
        module.published.__wrapped__()
