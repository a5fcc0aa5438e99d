"""Plots of scores and of training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

BINS = 10  # of the relative position in an organ
Floats = npt.NDArray[np.float64]


def box_plot(units: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Percent Dice of every case, by organ and method.

    Args:
        units: label → method → a value for each case.
    """
    figure = Figure(figsize=(min(14, 3.2 * len(units)), 3.4), layout="constrained")
    panels = figure.subplots(1, len(units), sharey=True, squeeze=False)[0]
    for axes, (label, methods) in zip(panels, units.items(), strict=True):
        axes.boxplot(list(methods.values()), tick_labels=list(methods), showfliers=False)
        for place, values in enumerate(methods.values(), start=1):
            axes.plot([place] * len(values), values, ".", color="#1f5f8b", markersize=4)
        axes.set_title(label, fontsize=9)
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
        axes.set_ylim(0, 100)
    panels[0].set_ylabel("Dice, percent")
    return figure


def slice_dice(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Dice (n,) of the slices that show the organ, and their place (n,) in it, 0…1 from below.

    Args:
        mask: (Z, H, W) as found; truth: (Z, H, W).
    """
    shown = np.flatnonzero(truth.any(axis=(1, 2)))
    both = 2.0 * (mask & truth)[shown].sum(axis=(1, 2))
    total = mask[shown].sum(axis=(1, 2)) + truth[shown].sum(axis=(1, 2))
    return both / total, (shown - shown[0] + 0.5) / (shown[-1] - shown[0] + 1)


def by_position(found: Mapping[str, Mapping[str, tuple[Floats, Floats]]]) -> Figure:
    """Mean Dice of slices against their place in the organ.

    Args:
        found: label → method → Dice and places of all slices of all cases.
    """
    figure = Figure(figsize=(min(14, 3.2 * len(found)), 3.2), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    edges = np.linspace(0, 1, BINS + 1)
    for axes, (label, methods) in zip(panels, found.items(), strict=True):
        for index, (name, (dice, place)) in enumerate(methods.items()):
            which = np.clip(np.digitize(place, edges) - 1, 0, BINS - 1)
            used = [b for b in range(BINS) if (which == b).any()]
            means = [100 * dice[which == b].mean() for b in used]
            style = "-" if index < 10 else "--"
            axes.plot((edges[used] + edges[1:][used]) / 2, means, style, label=name, linewidth=1.2)
        axes.set(title=label, xlabel="place in the organ, from below", ylim=(0, 100))
    panels[0].set_ylabel("Dice, percent")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return figure


def training_curves(logs: Mapping[str, Path]) -> Figure | None:
    """The loss of runs against the step, a running mean over a fortieth of the log.

    Args:
        logs: name → RUN/log.jsonl; those that are missing or empty are left out.

    Returns:
        None where nothing was logged.
    """
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    for name, path in logs.items():
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if not rows:
            continue
        steps = np.array([row["step"] for row in rows])
        losses = np.array([row["loss"] for row in rows])
        window = max(1, len(losses) // 40)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        if len(logs) == 1:
            axes.plot(steps, losses, color="#c9d3dc", linewidth=0.8, label="each logged step")
        axes.plot(steps[window - 1 :], smooth, label=f"{name}, mean of {window}", linewidth=1.2)
    if not axes.lines:
        return None
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
