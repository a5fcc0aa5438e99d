"""The one way from labelled scans and a query to probabilities.

    labelled scans ─┬─ align in the plane ─┬─ which slice serves which ─┐
    query ──────────┘                      │                            │
    plan: which slices show the same ──────┘                            │
                                                                        │
    probabilities ◀─ as one volume ◀─ own slices ◀─ one or two looks ◀──┘

What is found in slices that make up a volume is improved by the query itself: its own slices serve
each other, and the whole has its say. Protocols of the literature ask for single slices.

`segment`, `evaluate`, the review's reverse check, `adapt` and the experiments all go through
`Predictor.segment`; a plan says which support slices serve which query slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.alignment import AlignmentSearch
from dpcenet.inference.encoded import EncodedScan, encode_scan
from dpcenet.inference.looks import (
    FirstAnswer,
    first_answers,
    in_groups,
    pieces,
    reach_of,
    refine_in_windows,
)
from dpcenet.inference.own_slices import (
    CLOSER,
    CLOSEST,
    ENOUGH_SHARED,
    closer_by_own_slices,
    labelled_by_itself,
    likeliest_labels,
    own_tasks,
    shared_by_neighbours,
)
from dpcenet.inference.pose import align_support
from dpcenet.inference.slice_plans import (
    MatchedSlices,
    Probabilities,
    Request,
    Segmented,
    SlicePlan,
    Tasks,
)
from dpcenet.inference.support import LabelledScan, SliceTask, masks_of, with_neighbours
from dpcenet.inference.whole_scan import OnePart, as_one_volume, edge_at_half
from dpcenet.methods.base import Method, SecondLook
from dpcenet.system.device import Precision
from dpcenet.system.large_arrays import give_back, room_for
from dpcenet.volumes.boxes_and_values import Mask, above, label_boxes

CPU = torch.device("cpu")
FEWEST_SLICES = 4  # of a scan that is aligned as a volume


@dataclass(frozen=True)
class Predictor:
    """A trained method, and what it may use to segment.

    Attributes:
        method: in evaluation mode, on `device`.
        precision: of the trunk.
        device: where it computes.
        neighbours: support slices on either side of the chosen one that help; None takes the
            method's own number.
        align: whether labelled scans are aligned with the query in the plane.
        second_look: whether slices are segmented once more through windows; where they make up a
            volume, by the query's own slices, and by labelled ones only where these share little.
        as_volume: whether the answers for slices are seen as one volume; see `whole_scan`.
        one_part: whether a label that is in one part in the labelled scans is so in a query.
    """

    method: Method
    precision: Precision = "float32"
    device: torch.device = CPU
    neighbours: int | None = None
    align: bool = True
    second_look: bool = True
    as_volume: bool = True
    one_part: bool = True

    def __repr__(self) -> str:
        return f"Predictor({type(self.method).__name__}, {self.precision}, {self.device})"

    def at_first_look(self) -> Predictor:
        """The same, with one support slice for each query slice, no alignment and no window."""
        return replace(self, neighbours=0, align=False, second_look=False)

    def blind_plan(
        self,
        support: Sequence[LabelledScan],
        query: EncodedScan,
        search: AlignmentSearch | None = None,
    ) -> SlicePlan:
        """The plan where nothing is known of the query: an alignment in 3-D, or slice by slice.

        Volumes are aligned where the method names a map for it, no scan is only a few slices, and
        the support's images, which show where the body ends, are there. `search` says how.
        """
        scans = [query, *(scan.slices for scan in support)]
        volumes = all(len(scan) >= FEWEST_SLICES and scan.windows is None for scan in scans)
        if self.align and volumes and self.method.volume_map is not None:
            return AlignedSlices(self.method.volume_map, search=search)
        return MatchedSlices()

    def encode(
        self,
        image: npt.NDArray[np.float32],
        spacing: tuple[float, float, float],
    ) -> EncodedScan:
        """Encode a prepared scan (Z, H, W) with its spacing along z, y, x in mm; see
        `encode_scan`."""
        return encode_scan(self.method, image, spacing, self.device, self.precision)

    @torch.no_grad()
    def segment(
        self,
        support: Sequence[LabelledScan],
        query: EncodedScan,
        plan: SlicePlan,
        values: Sequence[int],
    ) -> Segmented:
        """Segment labels of a query.

        Args:
            support: labelled scans, oriented like the query.
            query: the scan to be segmented.
            plan: which support slices serve which query slices.
            values: labels to segment. Labels are segmented together: what slices have to do with
                each other serves all of them.
        """
        request = Request(self.method, support, query, values, self.precision)
        aligned = self._aligned(request, plan)
        chosen = plan.slices(request, aligned)
        volume = self.as_volume and plan.covers_scan and self.method.as_volume
        look = self.method.second_look if self.second_look and query.windows is None else None
        reach = self.neighbours
        if reach is None:
            reach = reach_of(self.method, volume and look is not None)
        labels = [scan.label for scan in aligned]
        tasks = {v: with_neighbours(each, labels, v, reach) for v, each in chosen.tasks.items()}
        found = self._first_look(aligned, query, tasks)
        at_first: dict[int, Mask] = {}
        if volume:
            if len(aligned) == 1 and reach == 0:
                at_first = {v: above(each, 0.5, len(found)) for v, each in found.items()}
            self._as_volume(found, aligned, query, tasks, look)
            if self.method.edge < 0.5:
                for each in found.values():
                    edge_at_half(each, self.method.edge)
        elif look is not None:
            self._second_look(aligned, query, tasks, look, found)
        slices = replace(chosen, tasks=tasks)
        return Segmented(tuple(aligned), slices, found, at_first=at_first)

    def _aligned(self, request: Request, plan: SlicePlan) -> Sequence[LabelledScan]:
        if not self.align or self.method.pose_search is None:
            return request.support
        query, values = request.query, request.values
        return [
            align_support(self.method, scan, values, query, pairs, self.precision)
            for scan, pairs in zip(request.support, plan.pairs(request), strict=True)
        ]

    def _as_volume(
        self,
        found: Probabilities,
        scans: Sequence[LabelledScan],
        query: EncodedScan,
        tasks: Tasks,
        look: SecondLook | None,
    ) -> None:
        """Mend what was found in slices that make up a volume; see `own_slices`, `whole_scan`.

        Neighbouring slices that share little, as of a thin wall, help each other little: there the
        labelled slices have a say before and after, at last through the closest windows.
        """
        served = {v: sorted({z for task in each for z in task.query}) for v, each in tasks.items()}
        served = {value: slices for value, slices in served.items() if slices}
        boxes, mm = [label_boxes(scan.label) for scan in scans], query.spacing[0]
        parts = {v: OnePart.of(scans, boxes, v, mm) if self.one_part else None for v in served}
        if look is None or not served:
            self._see_whole(found, query, served, parts)
            return
        apart = {
            v: z for v, z in served.items() if shared_by_neighbours(found[v], z) < ENOUGH_SHARED
        }
        unlike = {value: tasks[value] for value in apart}
        self._second_look(scans, query, unlike, look, found)
        self._see_whole(found, query, served, parts)
        itself = labelled_by_itself(query, found)
        own = {v: own_tasks(itself.label, v, slices) for v, slices in served.items()}
        self._first_look([itself], query, own, onto=found)
        self._see_whole(found, query, served, parts)
        for value, slices in served.items():
            near = look.closer(CLOSER) if value in apart else look
            closer_by_own_slices(self.method, near, query, found[value], slices, self.precision)
        self._see_whole(found, query, served, parts)
        self._second_look(scans, query, unlike, look.closer(CLOSEST), found)
        self._see_whole(found, query, apart, parts)

    def _see_whole(
        self,
        found: Probabilities,
        query: EncodedScan,
        served: Mapping[int, Sequence[int]],
        parts: Mapping[int, OnePart | None],
    ) -> None:
        """Change the answers by what the whole scan has to say; see `whole_scan`."""
        if not served:
            return
        image = query.images[:, 0].float().cpu().numpy()
        likeliest, mm = likeliest_labels(found), query.spacing
        for value, slices in served.items():
            at = slice(slices[0], slices[-1] + 1)
            found_there, labels = found[value][at], likeliest[at]
            as_one_volume(found_there, image[at], mm, parts[value], value, labels)
            give_back(found[value])
            query.give_back()

    def _first_look(
        self,
        scans: Sequence[LabelledScan],
        query: EncodedScan,
        tasks: Tasks,
        onto: Probabilities | None = None,
    ) -> Probabilities:
        """Foreground probability (Z, H, W) of each label; 0 on slices that no task covers.

        With `onto`, earlier answers are changed, and slices that no task covers stay.
        """
        shape = (len(query), *query.images.shape[-2:])
        whole = onto or {value: room_for(shape, np.float32, len(tasks)) for value in tasks}
        for group in in_groups(_pieces_of(tasks)):
            answers = first_answers(self.method, scans, query, group, self.precision)
            self._keep([(a.value, a.task, a.probability) for a in answers], whole, scans, query)
        return whole

    def _second_look(
        self,
        scans: Sequence[LabelledScan],
        query: EncodedScan,
        tasks: Tasks,
        look: SecondLook,
        found: Probabilities,
    ) -> None:
        """Segment once more through windows around the labels; `found` is changed inside them."""
        for group in in_groups(_pieces_of(tasks)):
            answers = [
                FirstAnswer(
                    value,
                    task,
                    masks_of(scans, task.support, value),
                    torch.from_numpy(found[value][list(task.query)]).to(query.images.device),
                )
                for value, task in group
            ]
            closer = refine_in_windows(self.method, look, scans, query, answers, self.precision)
            changed = [(a.value, a.task, one) for a, one in zip(answers, closer, strict=True)]
            self._keep(changed, found, scans, query)

    @staticmethod
    def _keep(
        answers: Sequence[tuple[int, SliceTask, torch.Tensor]],
        whole: Probabilities,
        scans: Sequence[LabelledScan],
        query: EncodedScan,
    ) -> None:
        """Put answers for slices into the whole, and let go of what was read to make them."""
        for value, task, probability in answers:
            whole[value][list(task.query)] = probability.cpu().numpy()
            give_back(whole[value])
        for each in (query, *(scan.slices for scan in scans)):
            each.give_back()


def _pieces_of(tasks: Tasks) -> Iterator[tuple[int, SliceTask]]:
    """Label values and their tasks, cut into pieces of bounded size."""
    return (
        (value, piece) for value, each in tasks.items() for task in each for piece in pieces(task)
    )
