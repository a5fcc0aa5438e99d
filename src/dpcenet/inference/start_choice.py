"""Which of several alignments each organ takes.

Features alone do not tell a kidney's place from one a few centimetres away. The network does: where
an organ's line is wrong, it finds little at a first look, and is not sure of it; or it finds what
another organ is found in. By that, and a little by the features, one of several lines is chosen.
Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.alignment import Alignment, ZLine
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.looks import first_answers, in_groups
from dpcenet.inference.slice_plans import Request
from dpcenet.inference.support import LabelledScan, Labels, SliceTask, organ_slices, served_tasks

LOOK_MM = 15.0  # distance of the slices that are looked at
PIXELS = 4  # of which one along each side of a slice is kept of such a look
SHORT = 0.05  # what is taken off for each factor e by which too little is found
ALIKE = 0.1  # what is added for an organ's features that are wholly alike
LEAST = 0.02  # of the support's volume: what is less counts as this
CLOSE_MM, CLOSE_SCALE = 6.0, 0.15  # lines that differ by less, and by less in log(scale), are one
_Look = tuple[int, int]  # which alignment, and the value of a label
_Planes = dict[int, Tensor]
"""Slice of the query → (h, w), probability of a label."""


def chosen_lines(
    request: Request, scan: LabelledScan, ways: Sequence[Alignment], margin: float
) -> Alignment:
    """The first alignment with each organ's line from the one under which it is found best.

    Organs share no voxels: what is found of one counts only where no surer one is likelier.

    Args:
        request: what is to be segmented.
        scan: the labelled scan that was aligned.
        ways: alignments of it, the most similar one first.
        margin: how far beyond an organ's ends slices are served, in mm.
    """
    if len(ways) == 1:
        return ways[0]
    looks = {
        (n, value): _looks(request, scan, ways[n].organs[value], value, margin)
        for value in ways[0].organs
        for n in _apart(ways, value)
    }
    starts = _best_starts(request, scan, ways, _seen(request, scan, looks))
    best = {value: ways[n] for value, n in starts.items()}
    return replace(
        ways[0],
        organs={value: way.organs[value] for value, way in best.items()},
        organ_similarity={value: way.organ_similarity[value] for value, way in best.items()},
    )


def _apart(ways: Sequence[Alignment], value: int) -> list[int]:
    """The numbers of alignments whose lines of an organ differ: of close ones the most similar."""
    numbers = sorted(range(len(ways)), key=lambda n: -ways[n].organ_similarity[value])
    kept: list[int] = []
    for n in numbers:
        lines = [ways[other].organs[value] for other in kept]
        if not any(_close(ways[n].organs[value], line) for line in lines):
            kept.append(n)
    return kept


def _close(one: ZLine, other: ZLine) -> bool:
    """Whether two lines of an organ lead nearly to the same slices."""
    scale = abs(math.log(one.scale / other.scale))
    return abs(one.query_mm - other.query_mm) <= CLOSE_MM and scale <= CLOSE_SCALE


def _looks(
    request: Request, scan: LabelledScan, line: ZLine, value: int, margin: float
) -> list[SliceTask]:
    """Every few slices along an organ's line."""
    served = slices_along(line, scan, value, request.query, margin)
    every = _every(request)
    looked = np.full_like(served, -1)
    looked[every // 2 :: every] = served[every // 2 :: every]
    return served_tasks([looked])


def _seen(
    request: Request, scan: LabelledScan, looks: Mapping[_Look, Sequence[SliceTask]]
) -> dict[_Look, _Planes]:
    """What is found of a label along each of its lines, at first look.

    All are looked at together: what several lines have in common is computed once.
    """
    every = dict.fromkeys((value, task) for (_, value), tasks in looks.items() for task in tasks)
    found: dict[tuple[int, SliceTask], Tensor] = {}
    for group in in_groups(every):
        answers = first_answers(request.method, [scan], request.query, group, request.precision)
        few = (answer.probability[:, ::PIXELS, ::PIXELS].clone() for answer in answers)
        found |= dict(zip(group, few, strict=True))
    return {
        look: {
            z: plane
            for task in tasks
            for z, plane in zip(task.query, found[look[1], task], strict=True)
        }
        for look, tasks in looks.items()
    }


def _best_starts(
    request: Request,
    scan: LabelledScan,
    ways: Sequence[Alignment],
    seen: Mapping[_Look, _Planes],
) -> dict[int, int]:
    """Label value → the number of the alignment under which it is found best.

    The organ that is found best chooses first; what is hardly found takes no place from another.
    """
    pixel = PIXELS**2 * _every(request) * math.prod(request.query.spacing)
    numbers: dict[int, list[int]] = {}
    for n, value in seen:
        numbers.setdefault(value, []).append(n)
    voxel = math.prod(scan.slices.spacing)
    sizes = {value: voxel * np.count_nonzero(scan.label == value) for value in numbers}

    def expected(value: int, others: Sequence[_Planes]) -> dict[int, float]:
        there, rival, dices = sizes[value], _likeliest(others), {}
        for n in numbers[value]:
            found, served = Tally.of(seen[n, value], rival), bool(seen[n, value])
            dice = expected_dice(found, pixel * found.size / there)
            alike = ALIKE * ways[n].organ_similarity[value]
            dices[n] = dice + alike if served else -math.inf
        return dices

    chosen: dict[int, int] = {}
    for value in sorted(numbers, key=lambda value: -max(expected(value, []).values())):
        dices = expected(value, [seen[n, other] for other, n in chosen.items()])
        chosen[value] = max(dices, key=dices.__getitem__)
    return chosen


def _likeliest(every: Sequence[_Planes]) -> _Planes:
    """The greatest probability of several labels, where there is any."""
    likeliest: _Planes = {}
    for planes in every:
        for z, plane in planes.items():
            likeliest[z] = torch.maximum(plane, likeliest[z]) if z in likeliest else plane
    return likeliest


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

    size: int
    inside: float
    whole: float

    @staticmethod
    def of(planes: _Planes, rival: _Planes | None = None) -> Tally:
        """Of probabilities by slices; the mask is nowhere where `rival` is likelier."""
        size, inside, whole = 0, 0.0, 0.0
        for z, plane in planes.items():
            mask = plane > 0.5
            if rival and z in rival:
                mask &= plane >= rival[z]
            size += int(mask.sum())
            inside += float(plane[mask].sum())
            whole += float(plane.sum())
        return Tally(size, inside, whole)


def expected_dice(found: Tally, share: float) -> float:
    """The Dice that a mask has if its probabilities are right, less where too little is found.

    Args:
        found: of the label.
        share: volume found over volume of the support's label.
    """
    dice = 2 * found.inside / (found.whole + found.size) if found.size else 0.0
    return dice + SHORT * min(0.0, math.log(max(share, LEAST)))


def served_slices(
    line: ZLine,
    label: Labels,
    value: int,
    support_mm: float,
    query_slices: int,
    query_mm: float,
    margin: float = 20.0,
) -> npt.NDArray[np.int64]:
    """(Zq,) for each query slice the support slice that serves it for a label; −1 where none does.

    Slices a little beyond the organ's ends are served by its last slices: whether the organ is
    there, the network sees better than the line knows.

    Args:
        line: of the organ.
        label: (Z, H, W) of the support.
        value: the label.
        support_mm, query_mm: distance between slices.
        query_slices: how many there are.
        margin: how far beyond the organ's ends slices are served, in mm of the support.
    """
    shows = organ_slices(label, value)
    served = np.full(query_slices, -1, dtype=np.int64)
    if not len(shows):
        return served
    places = line.in_support((np.arange(query_slices) + 0.5) * query_mm)
    first, last = shows[0] * support_mm - margin, (shows[-1] + 1) * support_mm + margin
    inside = (places >= first) & (places <= last)
    nearest = np.abs(shows[None] - (places[inside, None] / support_mm - 0.5)).argmin(axis=1)
    served[inside] = shows[nearest]
    return served


def slices_along(
    line: ZLine, scan: LabelledScan, value: int, query: EncodedScan, margin: float
) -> npt.NDArray[np.int64]:
    """`served_slices` of a labelled scan for a query."""
    mm = scan.slices.spacing[0], query.spacing[0]
    return served_slices(line, scan.label, value, mm[0], len(query), mm[1], margin)
