"""What each part of finding a scan blind is worth: one left out at a time, weights as shipped.

    python experiments/parts.py PREPARED --pairs folds|ring|… [--labels 6,2,3,1] [--step 2]

Pairs are those of `experiments/alignment.py`; `--step 2` takes every second one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

Changed = Callable[[Predictor], Predictor]


def edge_at_half(predictor: Predictor) -> Predictor:
    """The same, with masks cut at a probability of one half from here on: it comes last."""
    predictor.method.edge = 0.5
    return predictor


ONE = AlignmentSearch(starts=1)
PLANS: dict[str, Callable[[], SlicePlan]] = {
    "slices matched one by one, no alignment in 3-D": MatchedSlices,
    "one alignment in 3-D, not five": lambda: AlignedSlices("coarse", search=ONE),
}
PARTS: dict[str, Changed] = {
    "no search for the pose in the plane": lambda p: replace(p, align=False),
    "slices do not serve each other, no windows": lambda p: replace(
        p, second_look=False, neighbours=0
    ),
    "not seen as a volume": lambda p: replace(p, as_volume=False),
    "not kept to one part": lambda p: replace(p, one_part=False),
    "masks cut at one half": edge_at_half,
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
    shipped = segmenter_for(dataset).predictor
    scans = {
        case.name: LabelledScan(
            case.name, shipped.encode(case.image, case.spacing), np.asarray(case.label)
        )
        for case in dataset.cases
        if any(case.name in pair for pair in served)
    }
    whole = None
    for name in ("all parts", *PLANS, *PARTS):
        predictor = PARTS.get(name, lambda same: same)(shipped)
        plan = PLANS.get(name, lambda: AlignedSlices("coarse"))
        scores = np.array(
            [
                mean_dice(predictor, plan(), scans[support], scans[query], values)
                for support, query in served
            ]
        )
        whole = scores if whole is None else whole
        lost = whole - scores
        typer.echo(f"| {name} | {scores.mean():.1f} | {lost.mean():.1f} ({(lost > 0).sum()}) |")


def mean_dice(
    predictor: Predictor,
    plan: SlicePlan,
    support: LabelledScan,
    query: LabelledScan,
    values: Sequence[int],
) -> float:
    """Mean Dice in percent over the labels of a query."""
    masks = predictor.segment([support], query.slices, plan, values).masks
    return 100 * float(np.mean([dice(masks[v], query.label == v) for v in values]))


if __name__ == "__main__":
    typer.run(main)
