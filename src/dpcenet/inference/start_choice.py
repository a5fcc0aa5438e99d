"""Which of several alignments is right, told by a first look at each organ.

Features alone do not tell a kidney's place from one a few centimetres away. The network does: where
the line is wrong, it finds little, and is not sure of it. Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dpcenet.inference.alignment import Alignment
from dpcenet.inference.first_look import first_answers, in_groups
from dpcenet.inference.line_search import ZLine
from dpcenet.inference.slice_plans import Request
from dpcenet.inference.slice_tasks import SliceTask, served_tasks, slices_along
from dpcenet.inference.support import LabelledScan

LOOK_MM = 15.0  # distance of the slices that are looked at
SHORT = 0.05  # what is taken off for each factor e by which too little is found
LEAST = 0.02  # of the support's volume: what is less counts as this
_Look = tuple[int, int]  # which alignment, and the value of a label


def chosen_lines(
    request: Request, scan: LabelledScan, ways: Sequence[Alignment], margin: float
) -> Alignment:
    """The first alignment with each organ's line from the one under which it is found best.

    Args:
        request: what is to be segmented.
        scan: the labelled scan that was aligned.
        ways: alignments of it, the most similar one first.
        margin: how far beyond an organ's ends slices are served, in mm.
    """
    if len(ways) == 1:
        return ways[0]
    looks = {
        (n, value): _looks(request, scan, line, value, margin)
        for n, way in enumerate(ways)
        for value, line in way.organs.items()
    }
    expected = _expected(request, scan, looks)
    best = {
        value: ways[max(range(len(ways)), key=lambda n: expected[n, value])]
        for value in ways[0].organs
    }
    return replace(
        ways[0],
        organs={value: way.organs[value] for value, way in best.items()},
        organ_similarity={value: way.organ_similarity[value] for value, way in best.items()},
    )


def _looks(
    request: Request, scan: LabelledScan, line: ZLine, value: int, margin: float
) -> list[SliceTask]:
    """Every few slices along an organ's line."""
    served = slices_along(line, scan, value, request.query, margin)
    every = _every(request)
    looked = np.full_like(served, -1)
    looked[every // 2 :: every] = served[every // 2 :: every]
    return served_tasks([looked])


def _expected(
    request: Request, scan: LabelledScan, looks: Mapping[_Look, Sequence[SliceTask]]
) -> dict[_Look, float]:
    """How well a label is found along each of its lines, at first look.

    All are looked at together: what several lines have in common is computed once.
    """
    every = dict.fromkeys((value, task) for (_, value), tasks in looks.items() for task in tasks)
    found: dict[tuple[int, SliceTask], Tally] = {}
    for group in in_groups(every):
        answers = first_answers(request.method, [scan], request.query, group)
        tallies = [Tally.of(answer.probability) for answer in answers]
        found |= dict(zip(group, tallies, strict=True))
    voxel = _every(request) * math.prod(request.query.spacing)
    scores = {}
    for look, tasks in looks.items():
        there = math.prod(scan.slices.spacing) * np.count_nonzero(scan.label == look[1])
        tally = sum((found[look[1], task] for task in tasks), Tally())
        scores[look] = expected_dice(tally, voxel * tally.size / there) if tasks else -math.inf
    return scores


def _every(request: Request) -> int:
    """Of how many slices of the query one is looked at."""
    return max(1, round(LOOK_MM / request.query.spacing[0]))


@dataclass(frozen=True)
class Tally:
    """Sums over the probabilities of a label; the mask is where they are above 1/2.

    Attributes:
        size: voxels of the mask.
        inside: sum in the mask.
        whole: sum everywhere.
    """

    size: int = 0
    inside: float = 0.0
    whole: float = 0.0

    @staticmethod
    def of(probability: torch.Tensor) -> Tally:
        """Of probabilities (N, H, W)."""
        mask = probability > 0.5
        inside, whole = probability[mask].sum(), probability.sum()
        return Tally(int(mask.sum()), float(inside), float(whole))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.size + other.size, self.inside + other.inside, self.whole + other.whole)


def expected_dice(found: Tally, share: float) -> float:
    """The Dice that a mask has if its probabilities are right, less where too little is found.

    Args:
        found: of the label.
        share: volume found over volume of the support's label.
    """
    dice = 2 * found.inside / (found.whole + found.size) if found.size else 0.0
    return dice + SHORT * min(0.0, math.log(max(share, LEAST)))
