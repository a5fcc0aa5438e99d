"""A partly labelled scan is completed from its own labelled slices.

Who draws every third slice leaves gaps. A slice in a gap is not labelled, which is not the same as
empty: the network fills it, with the labelled slices on either side as its support. Their shapes,
interpolated, are a second opinion, which counts for less the wider the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import Request, SliceMap, SlicePlan
from dpcenet.inference.support import LabelledScan, Labels, SliceTask, SupportSlice, organ_slices
from dpcenet.volumes.boxes_and_values import Mask

SOFTNESS = 1.5  # pixels over which an interpolated border goes from likely to unlikely
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Gap:
    """Slices without a label, beside slices that have it.

    Attributes:
        slices: the slices without it, in the order in which they are reached.
        beside: the labelled slices next to them: two, or one at an end of the organ.
    """

    slices: tuple[int, ...]
    beside: tuple[int, ...]


def gaps_of(label: Labels, value: int, open_ended: bool = False) -> list[Gap]:
    """Where a label (Z, H, W) is not drawn although it may be there.

    Args:
        label: label values.
        value: the label.
        open_ended: also before its first and behind its last labelled slice.

    Returns:
        the gaps; none where the labelled slices follow each other.
    """
    shown = organ_slices(label, value).tolist()
    gaps = [
        Gap(tuple(range(low + 1, high)), (low, high))
        for low, high in pairwise(shown)
        if high - low > 1
    ]
    if open_ended and shown:
        first, last = shown[0], shown[-1]
        ends = ((range(first - 1, -1, -1), first), (range(last + 1, len(label)), last))
        gaps += [Gap(tuple(slices), (end,)) for slices, end in ends if len(slices)]
    return gaps


@dataclass(frozen=True)
class SlicesBesideGaps(SlicePlan):
    """The plan of a completion: the labelled slices beside a gap serve the slices in it.

    Attributes:
        gaps: label value → its gaps.
    """

    gaps: Mapping[int, Sequence[Gap]]

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`."""
        return SliceMap({value: self._tasks(value) for value in request.values})

    def _tasks(self, value: int) -> list[SliceTask]:
        return [
            SliceTask(tuple(SupportSlice(0, z) for z in gap.beside), gap.slices)
            for gap in self.gaps[value]
        ]


def complete(
    predictor: Predictor, scan: LabelledScan, values: Sequence[int], open_ended: bool = False
) -> dict[int, Probability]:
    """Probabilities (Z, H, W) of each label on the slices where it is not drawn; 0 elsewhere.

    Args:
        predictor: with a trained network.
        scan: partly labelled.
        values: the labels to complete.
        open_ended: whether an organ may go on beyond its first and last labelled slice. It ends
            at the first slice on which nothing is found.
    """
    gaps = {value: gaps_of(scan.label, value, open_ended) for value in values}
    plan, alone = SlicesBesideGaps(gaps), replace(predictor, align=False)
    found = alone.segment([scan], scan.slices, plan, values).probability
    for value, of_label in gaps.items():
        for gap in of_label:
            if len(gap.beside) == 2:
                _mix_with_shape(found[value], scan.label == value, gap)
            else:
                _end_where_empty(found[value], gap)
    return found


def fill_gaps(
    predictor: Predictor, scan: LabelledScan, values: Sequence[int]
) -> tuple[LabelledScan, dict[int, int]]:
    """The scan with its gaps filled, and how many slices of which label were filled.

    What a person drew is never changed; a scan without gaps comes back as it is.
    """
    counts = {v: sum(len(gap.slices) for gap in gaps_of(scan.label, v)) for v in values}
    partly = [value for value, count in counts.items() if count]
    if not partly:
        return scan, {}
    label = filled(scan.label, complete(predictor, scan, partly))
    return replace(scan, label=label), {value: counts[value] for value in partly}


def filled(drawn: Labels, probability: Mapping[int, Probability]) -> Labels:
    """Drawn labels (Z, H, W), and where nothing is drawn the likeliest label above one half."""
    values = np.array([0, *probability], dtype=np.uint8)
    likely = [np.full(drawn.shape, 0.5, dtype=np.float32), *probability.values()]
    found: Labels = values[np.stack(likely).argmax(axis=0)]
    return np.where(drawn > 0, drawn, found)


def interpolated(below: Mask, above: Mask, place: float) -> Probability:
    """Probabilities (H, W) of the shape between two masks, `place` from 0 (below) to 1 (above).

    Source: shape-based interpolation of signed distances (Raya and Udupa, 1990).
    """
    low, high = (
        ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        for mask in (below, above)
    )
    return expit(((1 - place) * low + place * high) / SOFTNESS).astype(np.float32)


def _mix_with_shape(probability: Probability, drawn: Mask, gap: Gap) -> None:
    """The mean of the network's answer and the interpolated shape, weighted by the gap's width."""
    below, above = gap.beside
    share = 1 / (above - below)
    for z in gap.slices:
        shape = interpolated(drawn[below], drawn[above], (z - below) * share)
        probability[z] = (1 - share) * probability[z] + share * shape


def _end_where_empty(probability: Probability, gap: Gap) -> None:
    """Beyond the first slice on which nothing is found, nothing is."""
    empty = [not bool((probability[z] > 0.5).any()) for z in gap.slices]
    if any(empty):
        probability[list(gap.slices[empty.index(True) :])] = 0
