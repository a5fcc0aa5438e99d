"""The demo's table: what the network expects of each mask, and what it truly reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.metrics import dice


def result_table(
    label: Path, truths: Mapping[str, Path | None], masks: Path, values: Sequence[int]
) -> str:
    """A line for each label of each scan.

    Args:
        label: mask of the labelled scan. Laid over a scan unchanged ("pasted"), it is what any
            method has to beat.
        truths: name of a scan → its true mask, where one is known.
        masks: folder of the results.
        values: of the labels, in the order of the review.
    """
    lines = [f"{'scan':<12}{'label':<15}{'expected Dice':<22}{'flag':<9}{'true':>5}{'pasted':>8}"]
    every: list[tuple[float, float]] = []
    for row in read_cases(masks):
        if row.case not in truths:
            continue
        truth = truths[row.case]
        for value, (name, quality) in zip(values, row.labels.items(), strict=True):
            expected = f"{quality.dice:.2f} ({quality.low:.2f} to {quality.high:.2f})"
            line = f"{row.case:<12}{name:<15}{expected:<22}{quality.flag:<9}"
            if truth is not None:
                pair = dice_of(masks / row.mask, truth, value), dice_of(label, truth, value)
                every.append(pair)
                line += f"{pair[0]:>5.2f}{pair[1]:>8.2f}"
            lines.append(line.rstrip())
    if every:
        found, pasted = (fmean(column) for column in zip(*every, strict=True))
        lines.append(f"true Dice, mean: {found:.2f}; of the labelled scan's mask pasted unchanged: "
                     f"{pasted:.2f}")  # fmt: skip
    return "\n".join(lines)


def dice_of(mask: Path, truth: Path, value: int) -> float:
    """Dice of one label of two files; nan where their grids have different sizes."""
    found, true = read_volume(mask).volume.data, read_volume(truth).volume.data
    return dice(found == value, true == value) if found.shape == true.shape else float("nan")
