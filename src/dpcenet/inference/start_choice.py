"""Which of several alignments is right, told by a first look at each organ.

Features alone do not tell a kidney's place from one a few centimetres away. The network does: where
the line is wrong, it finds little, and is not sure of it. Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dpcenet.inference.alignment import Alignment
from dpcenet.inference.first_look import first_answers
from dpcenet.inference.slice_plans import Request
from dpcenet.inference.slice_tasks import served_tasks, slices_along
from dpcenet.inference.support import LabelledScan

LOOK_MM = 15.0  # distance of the slices that are looked at
SHORT = 0.05  # what is taken off for each factor e by which too little is found
LEAST = 0.02  # of the support's volume: what is less counts as this


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
    best = {
        value: max(ways, key=lambda way: _expected(request, scan, way, value, margin))
        for value in ways[0].organs
    }
    return replace(
        ways[0],
        organs={value: way.organs[value] for value, way in best.items()},
        organ_similarity={value: way.organ_similarity[value] for value, way in best.items()},
    )


def _expected(
    request: Request, scan: LabelledScan, way: Alignment, value: int, margin: float
) -> float:
    """How well a label is found along its line, at first look and by every few slices."""
    query, mask = request.query, scan.label == value
    served = slices_along(way.organs[value], scan, value, query, margin)
    every = max(1, round(LOOK_MM / query.spacing[0]))
    looked = np.full_like(served, -1)
    looked[every // 2 :: every] = served[every // 2 :: every]
    group = [(value, task) for task in served_tasks([looked])]
    if not group:
        return -math.inf
    answers = first_answers(request.method, [scan], query, group)
    probability = torch.cat([answer.probability for answer in answers])
    there = math.prod(scan.slices.spacing) * np.count_nonzero(mask)
    found = every * math.prod(query.spacing) * int((probability > 0.5).sum())
    return expected_dice(probability, found / there)


def expected_dice(probability: torch.Tensor, share: float) -> float:
    """The Dice that a mask has if its probabilities are right, less where too little is found.

    Args:
        probability: (N, H, W) of the label; the mask is where it is above 1/2.
        share: volume found over volume of the support's label.
    """
    mask = probability > 0.5
    both, total = probability[mask].sum(), probability.sum() + mask.sum()
    dice = float(2 * both / total) if bool(mask.any()) else 0.0
    return dice + SHORT * min(0.0, math.log(max(share, LEAST)))
