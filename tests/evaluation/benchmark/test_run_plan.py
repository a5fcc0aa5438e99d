"""A plan becomes runs; done ones are skipped, failing ones are named, killed ones go on."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcenet.evaluation.benchmark.code_version import code_version
from dpcenet.evaluation.benchmark.experiments import Experiment
from dpcenet.evaluation.benchmark.run_experiment import ExecutionContext, state_of
from dpcenet.evaluation.benchmark.run_plan import BenchmarkSummary, PlanCommand, run_all
from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.sections import sections_of
from dpcenet.evaluation.report.tables import tables_of
from dpcenet.system.parallel import in_turn
from made import write_prepared
from reports import text_of
from tiny_plan import expand, write_plan

NAMED = PlanCommand("tiny", "Tiny", "dpcenet benchmark tiny.yaml")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan"))


def run(
    found: list[Experiment], out: Path, code: str = "", any_code: bool = False
) -> BenchmarkSummary:
    place = ExecutionContext(out, "cpu", 0, code or code_version())
    return run_all(NAMED, found, place, in_turn, any_code=any_code, quiet=True, say=len)


@pytest.fixture(scope="module")
def out(plan_file: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark."""
    folder = tmp_path_factory.mktemp("out")
    summary = run(expand(plan_file, data), folder)
    assert (summary.done, summary.skipped, summary.failed) == (5, 0, {})
    return folder


def test_what_is_done_is_skipped(out: Path, plan_file: Path, data: Path) -> None:
    found = expand(plan_file, data)
    before = {e.name: (e.folder(out) / "experiment.json").stat().st_mtime_ns for e in found}
    assert run(found, out).skipped == 5
    after = {e.name: (e.folder(out) / "experiment.json").stat().st_mtime_ns for e in found}
    assert before == after


def test_other_code_means_another_run(plan_file: Path, data: Path, tmp_path: Path) -> None:
    found = expand(plan_file, data, "seeds=[0]", "steps=1")[:1]
    run(found, tmp_path, code="old")
    assert run(found, tmp_path, code="new", any_code=True).skipped == 1
    assert run(found, tmp_path, code="new").skipped == 0
    assert state_of(found[0].folder(tmp_path))["code"] == "new"


def test_the_others_go_on_when_one_fails(plan_file: Path, data: Path, tmp_path: Path) -> None:
    good, bad, last = expand(plan_file, data, "seeds=[0]", "steps=1")
    bad = replace(bad, config=replace(bad.config, method="none"))
    summary = run([good, bad, last], tmp_path)
    assert list(summary.failed) == [f"made/{bad.name}"] and summary.done == 2
    (section,) = sections_of([tmp_path])
    assert list(section.missing) == [f"runs/made/{bad.name}"]
    assert len(section.runs) == 2


@pytest.mark.slow  # three starts of the program
def test_kill_9_and_go_on(plan_file: Path, data: Path, tmp_path: Path) -> None:
    """The same scores as without the kill; runs that were done before are not done again."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    flags = ["--data", f"made={data}", "--device", "cpu", "--seeds", "0"]
    command = [sys.executable, "-m", "dpcenet", "benchmark", str(plan_file), *flags]

    def scores(folder: Path) -> list[str]:
        return [path.read_text() for path in sorted(folder.glob("runs/*/*/scores-*.csv"))]

    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, env=environment)
    cut = tmp_path / "cut"
    process = subprocess.Popen([*command, "--out", str(cut)], env=environment)
    while not list(cut.glob("runs/made/dpcenet*/checkpoint.safetensors")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(
        [*command, "--out", str(cut)], check=True, env=environment, capture_output=True, text=True
    )
    assert "3 complete runs" in again.stdout and "0 of them" not in again.stdout
    assert scores(cut) == scores(tmp_path / "whole")


def recomputed(out: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """(row, label) → mean and deviation over cases, from the scores files alone."""
    dice: dict[tuple[str, str], dict[str, list[float]]] = {}
    rows = {"dpcenet": "DPCENet", "baseline": "baseline", "copy": "copy"}
    for path in out.glob("runs/made/*/scores-paper.csv"):
        row = rows[path.parent.name.split("-")[0]]
        for line in csv.DictReader(path.read_text().splitlines()):
            if line["method"] != "copy":  # the pasted mask stands beside every method
                cell = dice.setdefault((row, line["label"]), {})
                cell.setdefault(line["case"], []).append(100 * float(line["dice"]))
    found = {}
    for key, cases in dice.items():
        values = [np.mean(v) for v in cases.values()]
        found[key] = float(np.mean(values)), float(np.std(values, ddof=1))
    return found


def test_each_printed_number_is_the_recomputed_one(out: Path, tmp_path: Path) -> None:
    page = report([out], tmp_path, published=True)
    expected = recomputed(out)
    lines = {
        cells[1]: cells[2:]
        for line in (tmp_path / "tables.md").read_text().partition("Dice %")[0].splitlines()
        if len(cells := [c.strip().strip("*") for c in line.split("|")]) > 10
    }
    assert lines["method"][:3] == ["liver", "kidney", "mean"]
    for row in ("copy", "DPCENet", "baseline"):
        means = []
        for label, text in zip(("liver", "kidney"), lines[row], strict=False):
            mean, deviation = expected[row, label]
            numbers = re.findall(r"\d+\.\d", text)
            assert numbers[:2] == [f"{mean:.1f}", f"{deviation:.1f}"]
            means.append(mean)
        assert lines[row][2] == f"{np.mean(means):.1f}"
    for row in csv.DictReader((tmp_path / "tables.csv").read_text().splitlines()):
        if row["label"] != "mean":
            pair = float(row["dice"]), float(row["sd"])
            assert pair == pytest.approx(expected[row["method"], row["label"]])
    told = text_of(page.read_text())
    assert all(number in told for number in lines["DPCENet"][:2])
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"tiny-made-1-box", "tiny-made-1-position", "tiny-made-1-attention"} <= figures
    assert {"tiny-made-1-training", "tiny-made-1-cases-liver"} <= figures
    assert r"\begin{tabular}" in (tmp_path / "tables.tex").read_text()


def test_tests_against_the_reference(out: Path) -> None:
    (section,) = sections_of([out])
    (table,) = tables_of(section.runs)
    by_name = {row.name: row for row in table.rows}
    assert by_name["DPCENet"].mean is not None and by_name["DPCENet"].mean.p is None
    assert by_name["copy"].mean is not None and by_name["copy"].mean.wins is not None
    assert not any(cell and cell.best for row in table.rows for cell in row.cells)  # 2 cases
