"""Plots of scores and of training, their panels all of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpcenet.evaluation.report.figures.lettering import Say, in_english
from dpcenet.training.log import read_log
from dpcenet.volumes.boxes_and_values import Mask

WIDTH = 11.0  # inches of a full row of panels; a figure of fewer is as narrow as they are
HEIGHT = 3.3  # inches of a row of panels
IN_A_ROW = 4  # panels
BINS = 10  # of the relative position in an organ
LEAST = 5  # cases of which a box plot is drawn; fewer are shown as points only
Values = npt.NDArray[np.float64]


def panels(labels: Sequence[str], say: Say = in_english) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each label, four in a row, and those panels."""
    rows, columns = -(-len(labels) // IN_A_ROW), min(len(labels), IN_A_ROW)
    size = (WIDTH * columns / IN_A_ROW, HEIGHT * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(labels) :]:
        axes.set_axis_off()
    for axes, label in zip(grid.flat, labels, strict=False):
        axes.set_title(label, fontsize=9)
        axes.set_ylim(0, 100)
    for row in grid:
        row[0].set_ylabel(say("axis.dice"))
    return figure, list(grid.flat[: len(labels)])


def box_plot(units: Mapping[str, Mapping[str, Sequence[float]]], say: Say = in_english) -> Figure:
    """Percent Dice of every case as a point, by organ and method; boxes from five cases on.

    Args:
        units: label → method → a value for each case.
    """
    figure, grid = panels([*units], say)
    for axes, methods in zip(grid, units.values(), strict=True):
        for place, values in enumerate(methods.values(), start=1):
            if len(values) >= LEAST:
                axes.boxplot([values], positions=[place], widths=0.5, showfliers=False)
            axes.plot([place] * len(values), values, ".", color="#1f5f8b", markersize=4)
        axes.set_xticks(range(1, len(methods) + 1), [*methods])
        axes.set_xlim(0.5, len(methods) + 0.5)
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    return figure


def slice_dice(mask: Mask, truth: Mask) -> tuple[Values, Values]:
    """Dice (n,) of the slices that show the organ, and their place (n,) in it, 0…1 from below.

    Args:
        mask: (Z, H, W) as found; truth: (Z, H, W).
    """
    shown = np.flatnonzero(truth.any(axis=(1, 2)))
    both = 2.0 * (mask & truth)[shown].sum(axis=(1, 2))
    total = mask[shown].sum(axis=(1, 2)) + truth[shown].sum(axis=(1, 2))
    return both / total, (shown - shown[0] + 0.5) / (shown[-1] - shown[0] + 1)


def by_position(
    found: Mapping[str, Mapping[str, tuple[Values, Values]]], say: Say = in_english
) -> Figure:
    """Mean Dice of slices against their place in the organ.

    Args:
        found: label → method → Dice and places of all slices of all cases.
    """
    figure, grid = panels([*found], say)
    edges = np.linspace(0, 1, BINS + 1)
    for axes, methods in zip(grid, found.values(), strict=True):
        for index, (name, (dice, place)) in enumerate(methods.items()):
            which = np.clip(np.digitize(place, edges) - 1, 0, BINS - 1)
            used = [b for b in range(BINS) if (which == b).any()]
            means = [100 * dice[which == b].mean() for b in used]
            style = "-" if index < 10 else "--"
            axes.plot((edges[used] + edges[1:][used]) / 2, means, style, label=name, linewidth=1.2)
        axes.set(xlabel=say("axis.place"), xlim=(0, 1))
    columns = 1 + min(len(found), IN_A_ROW)  # of the legend, which must not be wider than panels
    names = grid[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=columns, fontsize=8)
    return figure


def training_curves(logs: Mapping[str, Path], say: Say = in_english) -> Figure | None:
    """The loss of runs against the step, a running mean over a fortieth of the log.

    Args:
        logs: name → RUN/log.jsonl; those that are missing or empty are left out.

    Returns:
        None where nothing was logged.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    for name, path in logs.items():
        rows = [row for row in read_log(path) if "loss" in row]
        if not rows:
            continue
        steps = np.array([row["step"] for row in rows])
        losses = np.array([row["loss"] for row in rows])
        window = max(1, len(losses) // 40)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        if len(logs) == 1:
            axes.plot(steps, losses, color="#c9d3dc", linewidth=0.8, label=say("axis.logged"))
        label = say("axis.smooth", name=name, window=window)
        axes.plot(steps[window - 1 :], smooth, label=label, linewidth=1.2)
    if not axes.lines:
        return None
    axes.set(xlabel=say("axis.step"), ylabel=say("axis.loss"))
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
