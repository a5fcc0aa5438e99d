"""What bfloat16 changes: masks and time of the shipped network in both precisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy.typing as npt
from measure import label_dices, timed

from dpcenet import Segmenter
from dpcenet.system.device import Precision, choose_precision
from dpcenet.volumes.io import read_volume

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Pair = tuple[Path, Path]
Labels = npt.NDArray[Any]


def precisions(labelled: Pair, queries: Sequence[Pair]) -> dict[str, Any]:
    """A row for each precision: Dice of its masks with those of float32, and with the truth.

    Args:
        labelled: the labelled scan and its labels.
        queries: scans and their true labels.
    """
    truths = [read_volume(truth).volume.data for _, truth in queries]
    rows, first = [], list[Labels]()
    for precision in PRECISIONS:
        masks: list[Labels] = []
        segmenter = Segmenter.shipped("cpu", precision=precision)
        support = segmenter.support(*labelled)
        seconds, cpu = timed(
            lambda m=masks, s=segmenter, u=support: m.extend(
                s.segment(scan, u).data for scan, _ in queries
            )
        )
        first = first or masks
        same = [
            each
            for one, other in zip(masks, first, strict=True)
            for each in label_dices(one, other)
        ]
        right = [
            each for one, true in zip(masks, truths, strict=True) for each in label_dices(one, true)
        ]
        rows.append(
            {
                "precision": precision,
                "Dice with float32": fmean(same),
                "the least": min(same),
                "Dice with the truth": fmean(right),
                "s for a scan": seconds / len(queries),
                "CPU s for a scan": cpu / len(queries),
            }
        )
    device = Segmenter.shipped("cpu").predictor.device
    says = (
        f"The shipped network, {len(queries)} scans from one labelled scan, without the check; the "
        "mean over labels and scans. The precision follows from what the processor can do (here "
        f"{choose_precision('auto', device)}); the record of each mask names it, and `--precision` "
        "forces one."
    )
    return {"title": "Precision", "says": says, "rows": rows}
