"""Signals of how good a segmentation is, measured without its true labels.

All come from features that were computed already: no image is encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dpcenet.inference.alignment import AlignmentSearch
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.own_slices import likeliest_labels
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_matching import compare_slices
from dpcenet.inference.slice_plans import MatchedSlices, Segmented, SlicePlan, Thinned
from dpcenet.inference.support import LabelledScan, Labels, Matches, organ_slices
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.neighbours import (
    Centre,
    centres_mm,
    claimed_by_another,
    displacement_mm,
    taken_in_support,
)
from dpcenet.segmentation.review.shape import Shape, shape_of
from dpcenet.system.large_arrays import blocks, give_back
from dpcenet.volumes.boxes_and_values import Mask, values_in
from dpcenet.volumes.metrics import dice


@dataclass(frozen=True)
class Signals:
    """What was measured for one label's mask in one query.

    Attributes:
        reverse: the reverse check: a labelled scan is segmented from the query's own mask; Dice
            with what a person drew there.
        agreement: Dice of the mask with one made from a single labelled slice, without a second
            look; the mean over the labelled scans.
        confidence: Dice of the mask with its probabilities.
        similarity: of matched slices (1 − distance of their descriptors), where the label
            was found.
        shape: of the mask.
        volume_ratio, extent_ratio: the mask's over the labelled scans'.
        continuity_loss: the labelled scans' continuity minus the mask's.
        taken: share of the mask, carried back to a labelled scan, that lies on another label there.
        claimed: share of the mask that another label claims in the query, too.
        displacement_mm: from where the other labels put it; None where it is the only label.
        size_mm: side of a cube of the labelled volume, to measure that by.
        alignment: similarity of the organ and its surroundings to the labelled scan's, under the
            alignment in 3-D; None where slices were matched one by one.
    """

    reverse: float
    agreement: float
    confidence: float
    similarity: Annotated[float, Field(alias="likeness")]  # its name on disk
    shape: Shape
    volume_ratio: float
    extent_ratio: float
    continuity_loss: float
    taken: float = 0.0
    claimed: float = 0.0
    displacement_mm: float | None = None
    size_mm: float = 1.0
    alignment: float | None = None


def label_map_of(result: SegmentationResult) -> Labels:
    """Label values (Z, H, W) in the network's geometry; where labels overlap, the more probable."""
    return likeliest_labels(result.probability)


def measure(predictor: Predictor, result: SegmentationResult) -> dict[int, Signals]:
    """The signals of every label that was found.

    Args:
        predictor: that made `result`.
        result: what `Segmenter.find` found in a query.
    """
    label_map = label_map_of(result)
    shown = set(values_in(label_map))
    values = [value for value in result.probability if value in shown]
    trips = tuple(
        _round_trip(predictor, result, label_map, values, scan, matches)
        for scan, matches in zip(result.scans, result.matches, strict=True)
    )
    centres = centres_mm(label_map, result.query.spacing)
    evidence = _Evidence(result, label_map, trips, centres, _similarity(predictor, result))
    return {value: _signals_of(evidence, value) for value in values}


WAY_BACK = AlignmentSearch(starts=1)
"""The way back is looked for once: a second and third start cost as much as the check itself."""
CHECK_MM = 8.0  # distance of the slices that the check looks at, where a label has enough of them
CHECKED = 6  # slices of a label that it looks at, at least


@dataclass(frozen=True)
class _RoundTrip:
    """One labelled scan and the query, each segmented from the other.

    Attributes:
        scan: the labelled scan.
        reverse: label value → Dice of the labelled scan's label, segmented from the query's own
            mask, with what a person drew.
        taken: label value → share of that on another label.
        agreement: label value → Dice of the query's label, segmented from this scan alone, with
            the mask.
        centres: of the labels that a person drew.
    """

    scan: LabelledScan
    reverse: dict[int, float]
    taken: dict[int, float]
    agreement: dict[int, float]
    centres: dict[int, Centre]


@dataclass(frozen=True)
class _Evidence:
    """What the signals of all labels of a query are made from.

    Attributes:
        result: of the query.
        label_map: see `label_map_of`.
        trips: one for each labelled scan.
        centres: of the labels that were found.
        similarity: (Z,) of each query slice to its match in the most similar labelled scan.
    """

    result: SegmentationResult
    label_map: Labels
    trips: tuple[_RoundTrip, ...]
    centres: dict[int, Centre]
    similarity: npt.NDArray[np.float64]


def _round_trip(
    predictor: Predictor,
    result: SegmentationResult,
    label_map: Labels,
    values: Sequence[int],
    scan: LabelledScan,
    matches: Matches,
) -> _RoundTrip:
    """Both ways without a second look: one labelled slice for each slice.

    The way back is found anew, as if nothing were known of the labelled scan.
    """
    query, once = LabelledScan("query", result.query, label_map), predictor.at_first_look()
    centres = centres_mm(scan.label, scan.slices.spacing)
    shown = [value for value in values if value in centres]
    way_back = _thinned(
        predictor.blind_plan([query], scan.slices, WAY_BACK), scan.slices, scan.label, shown
    )
    back = once.segment([query], scan.slices, way_back, shown)
    reverse = _agreements(back, scan.label, way_back)
    taken = {v: taken_in_support(back.mask(v), scan.label, v) for v in shown}
    if result.at_first:
        there = {v: dice(result.at_first[v], label_map == v) for v in shown}
        return _RoundTrip(scan, reverse, taken, there, centres)
    one_by_one = _thinned(MatchedSlices((matches,)), result.query, label_map, shown)
    alone = once.segment([scan], result.query, one_by_one, shown)
    return _RoundTrip(scan, reverse, taken, _agreements(alone, label_map, one_by_one), centres)


def _agreements(found: Segmented, labels: Labels, plan: Thinned) -> dict[int, float]:
    """Dice of each label that was found with a map of labels, on the slices of the plan."""
    agreements = {}
    for value, probability in found.probability.items():
        kept = plan.kept(value)
        agreements[value] = dice(probability[kept] > found.cut, labels[kept] == value)
        give_back(probability)
    return agreements


def _thinned(
    plan: SlicePlan, scan: EncodedScan, label_map: Labels, values: Sequence[int]
) -> Thinned:
    """The plan on slices about `CHECK_MM` apart; nearer where a label shows on few of them."""
    apart = max(1, round(CHECK_MM / scan.spacing[0]))
    shown = {value: len(organ_slices(label_map, value)) for value in values}
    return Thinned(plan, {v: max(1, min(apart, count // CHECKED)) for v, count in shown.items()})


def _signals_of(evidence: _Evidence, value: int) -> Signals:
    """The signals of one label, from the labelled scans that show it."""
    result, mask = evidence.result, evidence.label_map == value
    trips = [trip for trip in evidence.trips if value in trip.centres]
    shape = shape_of(mask, result.query.spacing)
    shapes = [shape_of(trip.scan.label == value, trip.scan.slices.spacing) for trip in trips]
    volume_ml = fmean(other.volume_ml for other in shapes)
    away = [displacement_mm(value, evidence.centres, trip.centres) for trip in trips]
    return Signals(
        reverse=fmean(trip.reverse[value] for trip in trips),
        agreement=fmean(trip.agreement[value] for trip in trips),
        confidence=_confidence(result.probability[value], mask),
        similarity=float(evidence.similarity[mask.any(axis=(1, 2))].mean()),
        shape=shape,
        volume_ratio=shape.volume_ml / volume_ml,
        extent_ratio=shape.extent_mm / fmean(other.extent_mm for other in shapes),
        continuity_loss=fmean(other.continuity for other in shapes) - shape.continuity,
        taken=fmean(trip.taken[value] for trip in trips),
        claimed=claimed_by_another(result.probability, mask, value),
        displacement_mm=None if None in away else fmean(mm for mm in away if mm is not None),
        size_mm=(1000 * volume_ml) ** (1 / 3),
        alignment=_alignment(result, value),
    )


def _confidence(probability: npt.NDArray[np.float32], mask: Mask) -> float:
    """Dice of a mask with the probabilities that it was made from."""
    inside = whole = 0.0
    for part in blocks(probability):
        inside += float(probability[part][mask[part]].sum())
        whole += float(probability[part].sum())
    return 2 * inside / (whole + int(np.count_nonzero(mask)))


def _alignment(result: SegmentationResult, value: int) -> float | None:
    """How alike the organ is under the best alignment; None where none shows it."""
    known = [found.organ_similarity.get(value) for found in result.alignments if found is not None]
    return max((one for one in known if one is not None), default=None)


def _similarity(predictor: Predictor, result: SegmentationResult) -> npt.NDArray[np.float64]:
    """(Z,) similarity of each query slice to its match in the most similar labelled scan."""
    rows = [
        1
        - compare_slices(predictor.method, scan.slices, result.query)[range(len(matches)), matches]
        for scan, matches in zip(result.scans, result.matches, strict=True)
    ]
    return np.asarray(np.max(rows, axis=0))
