"""The log of a run: a line for each logged step, none of them twice."""

from __future__ import annotations

import json
from pathlib import Path

from dpcenet.training.log import LOG, Log, read_log


def test_a_line_holds_the_step_its_values_and_the_seconds(tmp_path: Path) -> None:
    Log(tmp_path, 0).write(3, {"loss": 0.5, "loss.query": 0.25})
    (line,) = read_log(tmp_path / LOG)
    assert {key: line[key] for key in ("step", "loss", "loss.query")} == {
        "step": 3,
        "loss": 0.5,
        "loss.query": 0.25,
    }
    assert line["seconds"] >= 0


def test_a_resumed_run_drops_later_lines_and_half_a_line(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, {"loss": float(step)})
    with (tmp_path / LOG).open("a") as stream:
        stream.write('{"step": 4, "lo')
    Log(tmp_path, 2).write(3, {"loss": 30.0})
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path / LOG)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
    ]


def test_a_process_that_is_not_the_first_writes_nothing(tmp_path: Path) -> None:
    Log(tmp_path, 0).write(1, {"loss": 1.0})
    Log(tmp_path, 0, active=False).write(2, {"loss": 2.0})
    assert [line["step"] for line in read_log(tmp_path / LOG)] == [1]


def test_a_loss_that_is_no_number_is_kept(tmp_path: Path) -> None:
    Log(tmp_path, 0).write(1, {"loss": float("nan")})
    (line,) = read_log(tmp_path / LOG)
    assert line["loss"] != line["loss"]
    assert json.loads((tmp_path / LOG).read_text())["step"] == 1


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert read_log(tmp_path / LOG) == []
