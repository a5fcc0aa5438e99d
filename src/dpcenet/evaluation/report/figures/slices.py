"""Slices with masks on them: one case of one run, and several methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.evaluation.report.figures.lettering import Say, in_english
from dpcenet.evaluation.report.figures.plots import WIDTH
from dpcenet.evaluation.scores import Score
from dpcenet.training.run_folder import Run
from dpcenet.volumes.boxes_and_values import Mask

IN_A_ROW = 6  # panels
TRUTH, FOUND = "#ffb000", "#00c2ff"
Slice = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Panel:
    """One slice with at most one mask.

    Attributes:
        title: above it.
        image: (H, W).
        mask: (H, W), or None.
        truth: whether the mask was drawn by a person.
    """

    title: str
    image: Slice
    mask: Mask | None = None
    truth: bool = False


def ranked(scores: Sequence[Score]) -> list[tuple[str, Score]]:
    """The best, the median and the worst score by Dice; ranks that are the same case are joined."""
    order = sorted(scores, key=lambda score: (-score.dice, score.case, score.support))
    places: dict[int, list[str]] = {}
    if order:
        ends = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
        for name, place in ends.items():
            places.setdefault(place, []).append(name)
    return [("-".join(names), order[place]) for place, names in places.items()]


def label_value(dataset: PreparedDataset, name: str) -> int:
    """The value of a label of that name."""
    return next(value for value, label in dataset.labels.items() if label == name)


def predicted(run: Run, score: Score) -> tuple[Mask, npt.NDArray[np.int16]] | None:
    """What a run found for a score's case and label: mask (Z, H, W), and the support slice (Z,).

    Returns:
        None where the run did not segment it.
    """
    name = f"{score.case}-by-{score.support}.npz"
    path = run.folder / f"predictions-{score.protocol}" / name
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        if f"mask {score.label}" not in arrays:
            return None
        return arrays[f"mask {score.label}"], arrays[f"support slice {score.label}"]


def case_panels(
    dataset: PreparedDataset,
    score: Score,
    methods: Mapping[str, Sequence[Run]],
    say: Say = in_english,
) -> list[Panel]:
    """Support, the query's truth, and each method, on the slice that shows most of the organ.

    Args:
        dataset: of the runs.
        score: says which case, label, support and protocol.
        methods: name → its runs; the first that segmented the case is shown.
        say: writes the titles.
    """
    value = label_value(dataset, score.label)
    query = dataset.case(score.case)
    truth = np.asarray(query.label == value)
    z = int(truth.sum(axis=(1, 2)).argmax())
    found = {name: _first(runs, score) for name, runs in methods.items()}
    served = next((pair[1][z] for pair in found.values() if pair), np.int16(-1))
    support, z_support = _support_slice(dataset, score, value, int(served))
    panels = [
        Panel(
            say("panel.support", name=support.name),
            support.image[z_support],
            support.label[z_support] == value,
            True,
        ),
        Panel(say("panel.truth", name=query.name, z=z), query.image[z], truth[z], True),
    ]
    for name, pair in found.items():
        title = say("panel.not_run", name=name) if pair is None else name
        panels.append(Panel(title, query.image[z], None if pair is None else pair[0][z]))
    return panels


def _first(runs: Sequence[Run], score: Score) -> tuple[Mask, npt.NDArray[np.int16]] | None:
    return next((pair for run in runs if (pair := predicted(run, score))), None)


def _support_slice(
    dataset: PreparedDataset, score: Score, value: int, served: int
) -> tuple[PreparedCase, int]:
    """The support scan and its slice; slices are numbered through all supports of a set."""
    supports = [dataset.case(name) for name in score.support.split("+")]
    if served < 0:  # no support slice was matched here: show the organ's largest
        largest = int((supports[0].label == value).sum(axis=(1, 2)).argmax())
        return supports[0], largest
    return [(case, z) for case in supports for z in range(len(case.image))][served]


def draw(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Figure:
    """A grid of panels of one size, up to six in a row; a case with more takes several rows.

    Args:
        rows: a title for each case, and its panels.
    """
    lines = [
        (title if first == 0 else "", panels[first : first + IN_A_ROW])
        for title, panels in rows
        for first in range(0, len(panels), IN_A_ROW)
    ]
    columns, side = max(len(panels) for _, panels in lines), WIDTH / IN_A_ROW
    size = (side * columns, (side + 0.25) * len(lines))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for axes_row, (title, panels) in zip(grid, lines, strict=True):
        for axes in axes_row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(False)
        for axes, panel in zip(axes_row, panels, strict=False):
            _show(axes, panel)
        axes_row[0].set_ylabel(title, fontsize=8)
    return figure


def _show(axes: Axes, panel: Panel) -> None:
    low, high = np.percentile(panel.image, (1, 99.5))
    axes.imshow(panel.image, cmap="gray", vmin=low, vmax=high, interpolation="none")
    if panel.mask is not None and panel.mask.any():
        colour = TRUTH if panel.truth else FOUND
        axes.contourf(panel.mask, levels=[0.5, 1.5], colors=[colour], alpha=0.3)
        axes.contour(panel.mask, levels=[0.5], colors=[colour], linewidths=1.0)
    axes.set_title(panel.title, fontsize=7)
