"""A partly labelled scan is completed from its own labelled slices.

Who draws every third slice leaves gaps. A slice in a gap is not labelled, which is not the same as
empty: the network fills it, with the labelled slices on either side as its support. Their shapes,
interpolated, are a second opinion, which counts for less the wider the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from dpcenet.inference.predictor import Predictor, Request, SliceMap, SlicePlan
from dpcenet.inference.slice_tasks import SliceTask, organ_slices
from dpcenet.inference.support import LabelledScan, Labels, SupportSlice

SOFTNESS = 1.5  # pixels over which an interpolated border goes from likely to unlikely


@dataclass(frozen=True)
class Gap:
    """Slices without a label between two that have it.

    Attributes:
        below, above: the labelled slices on either side.
    """

    below: int
    above: int

    @property
    def slices(self) -> tuple[int, ...]:
        """The slices between, in order."""
        return tuple(range(self.below + 1, self.above))


def gaps_of(label: Labels, value: int) -> list[Gap]:
    """The gaps of one label (Z, H, W); none where its slices follow each other."""
    shown = organ_slices(label, value).tolist()
    return [Gap(low, high) for low, high in pairwise(shown) if high - low > 1]


@dataclass(frozen=True)
class SlicesAroundGaps(SlicePlan):
    """The plan of a completion: the labelled slices on either side serve each gap.

    Attributes:
        gaps: label value → its gaps.
    """

    gaps: Mapping[int, Sequence[Gap]]

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        """See `SlicePlan`."""
        return SliceMap({value: self._tasks(value) for value in request.values})

    def _tasks(self, value: int) -> list[SliceTask]:
        return [
            SliceTask((SupportSlice(0, gap.below), SupportSlice(0, gap.above)), gap.slices)
            for gap in self.gaps.get(value, ())
        ]


def complete(
    predictor: Predictor, scan: LabelledScan, values: Sequence[int]
) -> dict[int, npt.NDArray[np.float32]]:
    """Probabilities (Z, H, W) of each label on the slices in its gaps; 0 on all others.

    Args:
        predictor: with a trained network.
        scan: partly labelled. Slices before a label's first and behind its last labelled slice
            stay without it.
        values: the labels to complete.
    """
    gaps = {value: gaps_of(scan.label, value) for value in values}
    found = replace(predictor, align=False).segment(
        [scan], scan.slices, SlicesAroundGaps(gaps), values
    )
    for value, of_label in gaps.items():
        for gap in of_label:
            between = interpolated(scan.label[gap.below] == value, scan.label[gap.above] == value)
            for z in gap.slices:
                shape = between((z - gap.below) / (gap.above - gap.below))
                share = 1 / (gap.above - gap.below)
                mixed = (1 - share) * found.probability[value][z] + share * shape
                found.probability[value][z] = mixed
    return found.probability


def interpolated(
    below: npt.NDArray[np.bool_], above: npt.NDArray[np.bool_]
) -> Callable[[float], npt.NDArray[np.float32]]:
    """The shape between two masks (H, W), as probabilities by the place between them (0 … 1).

    Source: shape-based interpolation of signed distances (Raya and Udupa, 1990).
    """
    low, high = signed_distance(below), signed_distance(above)
    return lambda place: expit(((1 - place) * low + place * high) / SOFTNESS).astype(np.float32)


def signed_distance(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Distance in pixels (H, W) to the border of a mask: positive inside, negative outside."""
    inside: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    return inside - ndimage.distance_transform_edt(~mask)


def filled(scan: LabelledScan, probability: Mapping[int, npt.NDArray[np.float32]]) -> Labels:
    """The label (Z, H, W) with its gaps filled; what a person drew is never changed."""
    values = np.array([0, *probability], dtype=np.uint8)
    likely = [np.full(scan.label.shape, 0.5, dtype=np.float32), *probability.values()]
    found: Labels = values[np.stack(likely).argmax(axis=0)]
    return np.where(scan.label > 0, scan.label, found)
