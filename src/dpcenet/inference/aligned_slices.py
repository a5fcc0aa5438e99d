"""The plan that lays a labelled scan upon a query in three dimensions before slices serve.

Each organ has a line of its own along z: of several, the one along which it is found best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dpcenet.inference.alignment import Alignment, AlignmentSearch, align_volumes
from dpcenet.inference.feature_volume import feature_volume
from dpcenet.inference.pose import Pairs
from dpcenet.inference.slice_plans import Request, SliceMap, SlicePlan
from dpcenet.inference.start_choice import chosen_lines, slices_along
from dpcenet.inference.support import (
    LabelledScan,
    Matches,
    SliceTask,
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
