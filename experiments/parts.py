"""What each part of finding a scan blind is worth: one left out at a time, weights as shipped.

    python experiments/parts.py PREPARED --pairs folds|ring|… [--labels 6,2,3,1] [--step 2]

Pairs are those of `experiments/alignment.py`; `--step 2` takes every second one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from alignment import served_pairs
from prepared import segmenter_for

from dpcenet.data.store import open_dataset
from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.alignment import AlignmentSearch
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import MatchedSlices, SlicePlan
from dpcenet.inference.support import LabelledScan
from dpcenet.volumes.metrics import dice

Part = tuple[Callable[[Predictor], Predictor], Callable[[], SlicePlan]]


def edge_at_half(predictor: Predictor) -> Predictor:
    """The same, with masks cut at a probability of one half."""
    predictor.method.edge = 0.5
    return predictor


def as_it_is(predictor: Predictor) -> Predictor:
    """The same."""
    return predictor


def aligned() -> SlicePlan:
    """As `segment` does it."""
    return AlignedSlices("coarse")


PARTS: dict[str, Part] = {
    "all parts": (as_it_is, aligned),
    "slices matched one by one, no alignment in 3-D": (as_it_is, MatchedSlices),
    "one alignment in 3-D, not five": (
        as_it_is,
        lambda: AlignedSlices("coarse", search=AlignmentSearch(starts=1)),
    ),
    "no search for the pose in the plane": (lambda p: replace(p, align=False), aligned),
    "slices do not serve each other, no windows": (
        lambda p: replace(p, second_look=False, neighbours=0),
        aligned,
    ),
    "not seen as a volume": (lambda p: replace(p, as_volume=False), aligned),
    "not kept to one part": (lambda p: replace(p, one_part=False), aligned),
    "masks cut at one half": (edge_at_half, aligned),
}


def main(
    data: Path,
    pairs: Annotated[str, typer.Option(help="Which scan serves which.")],
    labels: str = "",
    step: int = 1,
) -> None:
    """Measure, and print a line for each part that is left out."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    values = [int(v) for v in labels.split(",")] if labels else list(dataset.labels)
    served = served_pairs([case.name for case in dataset.cases], pairs)[::step]
    typer.echo(f"| left out | mean Dice of {len(served)} pairs | lost (pairs that lose) |")
    typer.echo("|---|---|---|")
    whole = np.zeros(len(served))
    for name, (changed, plan) in PARTS.items():
        predictor = changed(segmenter_for(dataset).predictor)
        scores = []
        for support, query in served:
            ours, theirs = dataset.case(support), dataset.case(query)
            scan = LabelledScan(
                support, predictor.encode(ours.image, ours.spacing), np.asarray(ours.label)
            )
            slices, truth = predictor.encode(theirs.image, theirs.spacing), np.asarray(theirs.label)
            masks = predictor.segment([scan], slices, plan(), values).masks
            scores.append(100 * np.mean([dice(masks[v], truth == v) for v in values]))
        whole = np.array(scores) if name == "all parts" else whole
        lost = whole - scores
        typer.echo(f"| {name} | {np.mean(scores):.1f} | {lost.mean():.1f} ({(lost > 0).sum()}) |")


if __name__ == "__main__":
    typer.run(main)
