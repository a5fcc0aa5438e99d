"""Plots: what is drawn is what the arrays say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpcenet.evaluation.report.figures.plots import (
    HEIGHT,
    WIDTH,
    box_plot,
    by_position,
    panels,
    slice_dice,
    training_curves,
)


@pytest.mark.parametrize(("count", "rows", "width"), [(1, 1, 1 / 4), (4, 1, 1), (5, 2, 1)])
def test_panels_of_all_figures_have_one_size(count: int, rows: int, width: float) -> None:
    figure, found = panels([str(number) for number in range(count)])
    assert len(found) == count and figure.get_size_inches().tolist() == [
        WIDTH * width,
        HEIGHT * rows,
    ]
    assert [axes.get_title() for axes in found] == [str(number) for number in range(count)]


def test_boxes_are_drawn_from_five_cases_on() -> None:
    few, many = [10.0, 20.0, 30.0, 40.0], [10.0, 20.0, 30.0, 40.0, 90.0]
    (axes,) = (a for a in box_plot({"liver": {"few": few, "many": many}}).axes if a.get_title())
    points = [line for line in axes.lines if line.get_marker() == "."]
    assert [line.get_ydata().tolist() for line in points] == [few, many]
    boxes = [line for line in axes.lines if line.get_marker() != "."]
    assert all(np.allclose(np.sum([f(line.get_xdata()) for f in (min, max)]), 4) for line in boxes)
    medians = [line for line in boxes if set(line.get_ydata()) == {30.0}]
    assert len(medians) == 1 and len(boxes) > 4
    assert [text.get_text() for text in axes.get_xticklabels()] == ["few", "many"]


def test_dice_of_slices_by_the_definition() -> None:
    random = np.random.default_rng(0)
    mask, truth = random.random((2, 6, 5, 5)) > 0.5
    truth[[0, 3]] = False
    dice, place = slice_dice(mask, truth)
    expected = [
        2 * (mask[z] & truth[z]).sum() / (mask[z].sum() + truth[z].sum()) for z in (1, 2, 4, 5)
    ]
    np.testing.assert_allclose(dice, expected)
    np.testing.assert_allclose(place, [0.1, 0.3, 0.7, 0.9])  # middles of fifths of slices 1…5


def test_positions_are_means_of_tenths() -> None:
    place = np.array([0.05, 0.05, 0.51, 1.0])
    figure = by_position({"liver": {"m": (np.array([0.2, 0.4, 0.5, 1.0]), place)}})
    (line,) = (line for axes in figure.axes for line in axes.lines)
    np.testing.assert_allclose(line.get_xdata(), [0.05, 0.55, 0.95])
    np.testing.assert_allclose(line.get_ydata(), [30, 50, 100])


def test_the_loss_is_smoothed_by_a_running_mean(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).random(80)
    rows = (json.dumps({"step": n, "loss": loss}) for n, loss in enumerate(losses))
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    figure = training_curves({"m": tmp_path / "log.jsonl"})
    assert figure is not None
    every, smooth = figure.axes[0].lines
    np.testing.assert_allclose(every.get_ydata(), losses)
    np.testing.assert_allclose(smooth.get_ydata(), [losses[n : n + 2].mean() for n in range(79)])
    assert smooth.get_xdata()[0] == 1


def test_nothing_logged_is_no_figure(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert training_curves({"a": tmp_path / "none.jsonl", "b": tmp_path / "empty.jsonl"}) is None
