"""What other scans lose where the labelled scan is drawn on every 3rd or 5th slice only.

    python experiments/partly_labelled.py SCANS --support 01 --queries 02,03,05,08,10,13

SCANS is a folder of image_NAME and label_NAME files; nothing is known of the queries ("blind"). The
labels of the support are thinned out three ways: with empty slices between the labelled ones, as
label maps are read elsewhere; filled first, as `segment` does; and the same where each organ's
first and last slice are drawn as well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer

from dpcenet.inference.completion import fill_gaps
from dpcenet.inference.support import Support
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.metrics import dice

Labels = npt.NDArray[np.uint8]


def main(
    scans: Path,
    support: Annotated[str, typer.Option(help="The labelled scan.")] = "01",
    queries: Annotated[str, typer.Option(help="The others.")] = "02,03,05,08,10,13",
) -> None:
    """Measure, and print a row of Markdown for each way."""
    torch.set_num_threads(1)
    segmenter = Segmenter.shipped("cpu")
    whole = segmenter.support(image_of(scans, support), label_of(scans, support))
    ways = supports(segmenter, whole)
    scores: dict[str, list[list[float]]] = {way: [] for way in ways}
    for query in queries.split(","):
        scan, truth = read_volume(image_of(scans, query)), read_volume(label_of(scans, query))
        for way, given in ways.items():
            found = segmenter.find(scan, given).mask.data
            scores[way].append(
                [100 * dice(found == v, truth.volume.data == v) for v in whole.values]
            )
        typer.echo(f"{query}: " + ", ".join(f"{np.mean(s[-1]):.1f}" for s in scores.values()))
    typer.echo(f"| labelled slices | {' | '.join(map(str, whole.values))} | mean | loss |")
    full = np.mean(scores["all"])
    for way, rows in scores.items():
        each = " | ".join(f"{one:.1f}" for one in np.mean(rows, axis=0))
        typer.echo(f"| {way} | {each} | {np.mean(rows):.1f} | {full - np.mean(rows):.1f} |")


def image_of(folder: Path, name: str) -> Path:
    """The scan called `name`."""
    return folder / f"image_{name}.nii.gz"


def label_of(folder: Path, name: str) -> Path:
    """Its labels."""
    return folder / f"label_{name}.nii.gz"


def supports(segmenter: Segmenter, whole: Support) -> dict[str, Support]:
    """The labelled scan, labelled on fewer slices."""
    (scan,) = whole.scans
    made = {"all": whole}
    for step, ordinal in ((3, "every 3rd"), (5, "every 5th")):
        drawn = replace(scan, label=thinned(scan.label, step))
        ends = replace(scan, label=thinned(scan.label, step, ends=True))
        made[f"{ordinal}, gaps empty"] = replace(whole, scans=(drawn,))
        for way, one in (("filled", drawn), ("and each organ's ends, filled", ends)):
            filled, _ = fill_gaps(segmenter.predictor, one, whole.values)
            made[f"{ordinal}, {way}"] = replace(whole, scans=(filled,))
    return made


def thinned(label: Labels, step: int, ends: bool = False) -> Labels:
    """Labels (Z, H, W) on every so many slices, from the first labelled one on.

    Args:
        label: whole.
        step: from one labelled slice to the next.
        ends: also keep each label on its own first and last slice.
    """
    shown = np.flatnonzero(label.any(axis=(1, 2)))
    kept = np.zeros_like(label)
    kept[shown[0] :: step] = label[shown[0] :: step]
    for value in np.unique(label)[1:] if ends else ():
        its = np.flatnonzero((label == value).any(axis=(1, 2)))
        for z in (its[0], its[-1]):
            kept[z][label[z] == value] = value
    return kept


if __name__ == "__main__":
    typer.run(main)
