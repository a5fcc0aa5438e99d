"""What `dpcenet segment --fast` costs in Dice, and what it saves in time.

    python experiments/fast.py SCANS [--support 01] [--count 6]

SCANS holds image_*.nii.gz and label_*.nii.gz. Some of the scans are segmented from one labelled
scan, blind, in each way of looking; the truth serves for the scores only. Seconds are of one core,
so that other work on the machine does not count.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
import typer

from dpcenet.inference.predictor import Predictor
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.metrics import dice

WAYS = {
    "default": lambda predictor: predictor,
    "without the query's own slices": lambda predictor: replace(
        predictor, second_look=False, neighbours=0
    ),
    "`--fast`": Predictor.at_first_look,
}


def main(
    scans: Annotated[Path, typer.Argument(help="Folder of image_*.nii.gz and label_*.nii.gz.")],
    support: Annotated[str, typer.Option(help="Number of the labelled scan.")] = "01",
    count: Annotated[int, typer.Option(min=1, help="How many others are segmented.")] = 6,
) -> None:
    """Measure, and print a table."""
    torch.set_num_threads(1)
    shipped = Segmenter.shipped("cpu", precision="float32")
    images = [p for p in sorted(scans.glob("image_*.nii.gz")) if f"_{support}." not in p.name]
    typer.echo(
        "| way | mean Dice | lowest scan | seconds of one core for each scan |\n|---|---|---|---|"
    )
    for name, way in WAYS.items():
        segmenter = Segmenter(way(shipped.predictor), shipped.rules)
        given = segmenter.support(
            scans / f"image_{support}.nii.gz", scans / f"label_{support}.nii.gz"
        )
        scores, started = [], time.process_time()
        found = [(path, segmenter.segment(path, given)) for path in images[:count]]
        seconds = (time.process_time() - started) / len(found)
        for path, mask in found:
            truth = read_volume(path.with_name(path.name.replace("image", "label"))).volume.data
            each = [dice(mask.data == value, truth == value) for value in np.unique(truth) if value]
            scores.append(100 * fmean(each))
        typer.echo(f"| {name} | {fmean(scores):.1f} | {min(scores):.1f} | {seconds:.1f} |")


if __name__ == "__main__":
    typer.run(main)
