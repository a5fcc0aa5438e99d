"""The reverse check: labels of one scan are segmented in others, and from those masks in the first.

The result is compared with the labels at the start. It needs no label that a person drew: large
supervoxels take the place of organs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from dpcenet.data.store import PreparedCase
from dpcenet.errors import DatasetError
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.own_slices import likeliest_labels
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.volumes.metrics import dice

STAND_INS = 6  # supervoxels that take the place of organs where no label may be used
CHECKED = 4  # scans in which the reverse check segments them


@dataclass(frozen=True)
class Check:
    """What the reverse check segments, and where.

    Attributes:
        case: the scan in which some regions are known.
        label: (Z, H, W), the regions: its labels, or supervoxels in their place.
        values: of `label`.
        others: scans in which the regions are segmented.
    """

    case: PreparedCase
    label: npt.NDArray[np.uint8]
    values: tuple[int, ...]
    others: tuple[PreparedCase, ...]


def what_to_check(cases: Sequence[PreparedCase], labelled: PreparedCase | None) -> Check:
    """Labels of the labelled case, or large supervoxels of the first; and the scans to segment."""
    case = labelled or cases[0]
    others = tuple(other for other in cases if other.name != case.name)[:CHECKED]
    if not others:
        raise DatasetError("to adapt takes two scans or more")
    label = case.label if labelled else stand_ins(case.supervoxels)
    values = tuple(int(value) for value in np.unique(label) if value)
    return Check(case, label, values, others)


def stand_ins(supervoxels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The largest supervoxels without the very largest, which is the tissue between the organs.

    Args:
        supervoxels: (Z, H, W), 0 outside the body.

    Returns:
        (Z, H, W) uint8, 1 … `STAND_INS`.
    """
    sizes = np.bincount(supervoxels.ravel())
    sizes[0] = 0
    chosen = np.argsort(-sizes, kind="stable")[1 : 1 + STAND_INS]
    number = np.zeros(len(sizes), dtype=np.uint8)
    number[chosen] = np.where(sizes[chosen] > 0, np.arange(1, 1 + len(chosen)), 0)
    label: npt.NDArray[np.uint8] = number[supervoxels]
    return label


def encoded(predictor: Predictor, case: PreparedCase) -> EncodedScan:
    """A scan as the reverse check takes it."""
    return predictor.encode(case.image, case.spacing)


def reverse_check(predictor: Predictor, check: Check, slices: EncodedScan | None = None) -> float:
    """Mean Dice between the regions of a scan and what comes back by way of each other scan.

    Args:
        predictor: with the network; it segments here as it does elsewhere.
        check: what is segmented, and where.
        slices: those of `check.case`, where they are encoded already.
    """
    slices = encoded(predictor, check.case) if slices is None else slices
    here = LabelledScan(check.case.name, slices, check.label)
    scores = []
    for each in check.others:
        other = encoded(predictor, each)
        there = LabelledScan(each.name, other, _segmented(predictor, here, other, check.values))
        back = _segmented(predictor, there, slices, check.values)
        scores += [dice(back == value, check.label == value) for value in check.values]
    return fmean(scores)


def _segmented(
    predictor: Predictor, labelled: LabelledScan, query: EncodedScan, values: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """The query's label values (Z, H, W), of those that the labelled scan shows."""
    shown = [value for value in values if (labelled.label == value).any()]
    if not shown:
        return np.zeros(query.images[:, 0].shape, np.uint8)
    plan = predictor.blind_plan([labelled], query)
    return likeliest_labels(predictor.segment([labelled], query, plan, shown).probability)
