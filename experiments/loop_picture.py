#!/usr/bin/env python
"""docs/images/loop.png: one labelled scan, the others segmented, and which masks to trust.

Every scan is made up (phantoms); the masks and the expected Dice are the shipped network's.

    python experiments/loop_picture.py OUT docs/images/loop.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from dpcenet.app.project import COLOURS
from dpcenet.cli.demo_segment import demo_segment
from dpcenet.data.phantom.phantom import PHANTOM_LABELS
from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.io import read_volume

TITLE: dict[str, Any] = {"fontsize": 13, "fontweight": "bold", "loc": "left"}
DARKER = {
    value: tuple(0.75 * part for part in to_rgb(colour)) for value, colour in enumerate(COLOURS)
}
SHOWN = ("image_02", "image_03", "image_04", "image_05")


def show(axes: Axes, image: Path, mask: Path) -> None:
    """The slice that shows most of all labels, as a radiologist sees it, with their outlines."""
    scan, labels = (orient(read_volume(path).volume)[0].data for path in (image, mask))
    areas = np.stack([(labels == value).sum(axis=(1, 2)) for value in PHANTOM_LABELS])
    z = int(np.sqrt(areas).sum(axis=0).argmax())
    axes.imshow(scan[z], cmap="gray", vmax=np.percentile(scan[z], 99))
    for value in PHANTOM_LABELS:
        if (labels[z] == value).any():
            axes.contour(labels[z] == value, levels=[0.5], colors=[COLOURS[value]], linewidths=1.6)
    axes.axis("off")


def draw(out: Path, target: Path) -> None:
    """Draw the picture from what the demo wrote into a folder."""
    masks = out / "project" / "masks"
    figure = pyplot.figure(figsize=(11, 4.0), facecolor="white")
    images = figure.add_gridspec(
        2, 4, left=0.01, right=0.66, top=0.91, bottom=0.09, wspace=0.03, hspace=0.04
    )
    axes = figure.add_subplot(images[:, :2])
    show(axes, out / "scans/image_01.nii.gz", out / "scans/label_01.nii.gz")
    axes.set_title("1  Label one scan", **TITLE)
    legend(axes)
    for number, name in enumerate(SHOWN):
        axes = figure.add_subplot(images[number // 2, 2 + number % 2])
        show(axes, out / f"scans/{name}.nii.gz", masks / f"{name}_seg.nii.gz")
        if number == 0:
            axes.set_title("2  Segment the rest", **TITLE)
        axes.text(0.03, 0.03, name, color="white", fontsize=9, transform=axes.transAxes)
    right = figure.add_gridspec(1, 1, left=0.81, right=0.985, top=0.91, bottom=0.13)
    review(figure.add_subplot(right[0]), masks)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=130)


def legend(axes: Axes) -> None:
    """The organs' names in their colours, below the labelled scan."""
    for place, (value, name) in zip((0, 0.15, 0.46, 0.74), PHANTOM_LABELS.items(), strict=True):
        axes.text(
            place, -0.02, name, color=DARKER[value], fontsize=10, fontweight="bold",
            va="top", transform=axes.transAxes,
        )  # fmt: skip


def review(axes: Axes, masks: Path) -> None:
    """Expected Dice with its interval, the most doubtful first."""
    rows = sorted(
        ((quality, f"{row.case}, {name}") for row in read_cases(masks) if row.case in SHOWN
         for name, quality in row.labels.items()),
        key=lambda pair: pair[0].dice,
    )  # fmt: skip
    for place, (quality, _) in enumerate(rows):
        colour = "#2a9d4a" if quality.flag == "accept" else "#d9822b"
        axes.plot([quality.low, quality.high], [place, place], color=colour, linewidth=3)
        axes.plot(quality.dice, place, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("expected Dice; orange: look", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("3  Know which to trust", x=-0.62, **TITLE)


def main() -> None:
    """Make the scans and masks where they are missing, then draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    demo_segment(arguments.out, None, lambda _: None)
    draw(arguments.out, arguments.target)


if __name__ == "__main__":
    main()
