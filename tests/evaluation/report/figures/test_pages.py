"""Which figures a section has, and which rows and captions they carry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dpcenet.evaluation.report.figures.pages import figures_of
from dpcenet.evaluation.scores import Score
from dpcenet.training.run_folder import Run
from made import tiny_config, write_prepared
from reports import score, write_masks, write_run


def scores(dices: dict[str, float]) -> list[Score]:
    return [
        score(method, f"case{n}", "liver", dice + n / 100, support="case2")
        for method, dice in dices.items()
        for n in (0, 1)
    ]


def run_with_masks(folder: Path, data: Path) -> Run:
    """A run on made scans with the masks that it found."""
    config = tiny_config(4)  # without the attention: to draw it, a checkpoint is needed
    config = replace(config, options=replace(config.options, dpce=False))
    run = write_run(folder, scores({"tiny": 0.5, "copy": 0.2}), config, data=str(data))
    write_masks(folder, data)
    return run


def test_figures_of_scores_do_without_the_scans(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", scores({"tiny": 0.5}), facts={"dataset": "gone"})
    assert list(figures_of([run])) == ["gone-1-box"]


def test_figures_of_slices_need_the_scans(tmp_path: Path) -> None:
    data = write_prepared(tmp_path / "data", count=3)
    found = figures_of([run_with_masks(tmp_path / "run", data)])
    assert set(found) == {"1-box", "1-position", "1-cases-liver"}
    caption, figure, _ = found["1-cases-liver"]
    assert "best, median and worst case of tiny" in str(caption)
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        "best: 51 %", "median and worst: 50 %",
    ]  # fmt: skip
    position = found["1-position"].figure
    (line,) = (line for axes in position.axes for line in axes.lines)
    np.testing.assert_allclose(line.get_ydata(), 100)  # the masks are the truth


def test_figures_of_slices_need_what_was_predicted_and_the_weights(tmp_path: Path) -> None:
    """Runs of which only the scores were kept, on scans that are there, with attention to draw."""
    data = write_prepared(tmp_path / "data", count=3)
    run = write_run(tmp_path / "run", scores({"tiny": 0.5}), tiny_config(4), data=str(data))
    assert list(figures_of([run])) == ["1-box"]


def test_each_data_set_has_its_figures(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, scores({"tiny": 0.5}), facts={"dataset": name}, setting=setting)
        for name, setting in (("chaos", 1), ("sabs", 2))
    ]
    assert list(figures_of(runs)) == ["chaos-1-box", "sabs-2-box"]


def test_pasted_masks_have_no_box_of_their_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", scores({"tiny": 0.5, "copy": 0.1}), facts={"dataset": "x"})
    figure = figures_of([run])["x-1-box"].figure
    (axes,) = (axes for axes in figure.axes if axes.get_title())
    assert [text.get_text() for text in axes.get_xticklabels()] == ["tiny"]
    assert sorted(axes.lines[0].get_ydata()) == [50.0, 51.0]
