#!/usr/bin/env python
"""docs/images/loop.png: one labelled scan, the others segmented, and which masks to trust.

Every scan is made up (phantoms); the masks and the expected Dice are the shipped network's.

    python experiments/loop_picture.py OUT docs/images/loop.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpecFromSubplotSpec

from dpcenet.app.project import COLOURS
from dpcenet.cli.demo_segment import demo_segment
from dpcenet.data.phantom.phantom import PHANTOM_LABELS
from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.io import read_volume

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
    figure = pyplot.figure(figsize=(12, 3.9), layout="constrained")
    left, middle, right = figure.add_gridspec(1, 3, width_ratios=(1.15, 1.25, 1.3))
    axes = figure.add_subplot(left)
    show(axes, out / "scans/image_01.nii.gz", out / "scans/label_01.nii.gz")
    axes.set_title("1  Label one scan", fontsize=13, fontweight="bold", loc="left")
    for place, name in zip(GridSpecFromSubplotSpec(2, 2, middle), SHOWN, strict=True):
        title = "2  Segment the rest" if name == SHOWN[0] else " "
        axes = figure.add_subplot(place)
        show(axes, out / f"scans/{name}.nii.gz", masks / f"{name}_seg.nii.gz")
        axes.set_title(title, fontsize=13, fontweight="bold", loc="left")
    review(figure.add_subplot(right), masks)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100)


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
    axes.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("expected Dice (orange: have a look)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("3  Know which to trust", fontsize=13, fontweight="bold", loc="left")


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
