"""The plan that aligns a labelled scan with a query in three dimensions before slices serve.

Which of several alignments is right is told by a first look at each organ. Features alone do not
tell a kidney's place from one a few centimetres away. The network does: where the line is wrong, it
finds little, and is not sure of it. Measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.inference.alignment import Alignment, align_volumes
from dpcenet.inference.feature_volume import feature_volume
from dpcenet.inference.first_look import first_answers
from dpcenet.inference.pose_search import Pairs
from dpcenet.inference.slice_plans import Request, SliceMap, SlicePlan
from dpcenet.inference.slice_tasks import Matches, SliceTask, served_tasks, slices_along
from dpcenet.inference.support import LabelledScan

LOOK_MM = 15.0  # distance of the slices that are looked at
SHORT = 0.05  # what is taken off for each factor e by which too little is found
LEAST = 0.02  # of the support's volume: what is less counts as this


@dataclass(frozen=True)
class AlignedSlices(SlicePlan):
    """Slices by one alignment in three dimensions; nothing is known of the query.

    Attributes:
        map: name of the feature map by which volumes are compared.
        margin: how far beyond an organ's ends slices are served, in mm.
    """

    map: str
    margin: float = 20.0
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
            self._known[key] = align_volumes(volumes[0], scan.label, request.values, volumes[1])
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
