"""The plan that lays a labelled scan upon a query in three dimensions before slices serve.

Features alone do not tell a kidney's place from one a few centimetres away. The network does: where
an organ's line is wrong, it finds little at a first look, and is not sure of it. By that one of
several alignments is chosen. Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.inference.alignment import Alignment, AlignmentSearch, ZLine, align_volumes
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.feature_volume import feature_volume
from dpcenet.inference.looks import first_answers, in_groups
from dpcenet.inference.pose import Pairs
from dpcenet.inference.slice_plans import Request, SliceMap, SlicePlan
from dpcenet.inference.support import (
    LabelledScan,
    Labels,
    Matches,
    SliceTask,
    organ_slices,
    served_tasks,
)


@dataclass(frozen=True)
class AlignedSlices(SlicePlan):
    """Slices by one alignment in three dimensions; nothing is known of the query.

    Attributes:
        map: name of the feature map by which volumes are compared.
        margin: how far beyond an organ's ends slices are served, in mm.
        search: what alignments are tried.
    """

    covers_scan: ClassVar[bool] = True
    map: str
    margin: float = 20.0
    search: AlignmentSearch | None = None
    _known: dict[int, list[Alignment]] = field(default_factory=dict, repr=False, compare=False)

    def pairs(self, request: Request) -> list[Pairs]:
        """See `SlicePlan`: query slices that the common line leads into the support."""
        return [self._pairs(request, scan) for scan in request.support]

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`. Slices that at least half of the scans serve are segmented."""
        alignments = [self._chosen(scan, request) for scan in aligned]
        tasks = {v: self._tasks(request, aligned, alignments, v) for v in request.values}
        pairs = zip(aligned, alignments, strict=True)
        matches = tuple(self._matches(request, *pair) for pair in pairs)
        return SliceMap(tasks, matches, tuple(alignments))

    def _chosen(self, scan: LabelledScan, request: Request) -> Alignment | None:
        """The alignment whose lines serve; None where the scan shows none of the labels."""
        ways = self._align(scan, request)
        return chosen_lines(request, scan, ways, self.margin) if ways else None

    def _align(self, scan: LabelledScan, request: Request) -> list[Alignment]:
        """How the query may lie to a labelled scan; empty where it shows none of the labels.

        A scan that the search for a pose left as it was is not aligned anew.
        """
        if not np.isin(scan.label, list(request.values)).any():
            return []
        key = id(scan)
        if key not in self._known:
            volumes = [
                feature_volume(each.features[self.map], each.images, each.spacing)
                for each in (scan.slices, request.query)
            ]
            for each in (scan.slices, request.query):
                each.give_back()
            self._known[key] = align_volumes(
                volumes[0], scan.label, request.values, volumes[1], self.search
            )
        return self._known[key]

    def _places(
        self, request: Request, scan: LabelledScan, found: Alignment
    ) -> npt.NDArray[np.int64]:
        """(Zq,) the slice of the scan's stack, which may lie outside it, at each query slice."""
        middles = (np.arange(len(request.query)) + 0.5) * request.query.spacing[0]
        there = found.whole.in_support(middles) / scan.slices.spacing[0]
        places: npt.NDArray[np.int64] = np.floor(there).astype(np.int64)
        return places

    def _matches(self, request: Request, scan: LabelledScan, found: Alignment | None) -> Matches:
        """For each query slice the scan's slice at its place, or the one at the nearer end."""
        if found is None:
            return np.zeros(len(request.query), dtype=np.int64)
        return np.clip(self._places(request, scan, found), 0, len(scan.label) - 1)

    def _pairs(self, request: Request, scan: LabelledScan) -> Pairs:
        found = self._align(scan, request)
        if not found:
            return []
        places = enumerate(self._places(request, scan, found[0]).tolist())
        return [(s, q) for q, s in places if 0 <= s < len(scan.label)]

    def _tasks(
        self,
        request: Request,
        scans: Sequence[LabelledScan],
        alignments: Sequence[Alignment | None],
        value: int,
    ) -> list[SliceTask]:
        served = [
            slices_along(found.organs[value], scan, value, request.query, self.margin)
            if found is not None and value in found.organs
            else np.full(len(request.query), -1)
            for scan, found in zip(scans, alignments, strict=True)
        ]
        return served_tasks(served)


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
        answers = first_answers(request.method, [scan], request.query, group, request.precision)
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
