"""Signals of how good a segmentation is, measured without its true labels.

All come from features that were computed already: no image is encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_matching import compare_slices
from dpcenet.inference.slice_plans import MatchedSlices
from dpcenet.inference.slice_tasks import Matches
from dpcenet.inference.support import LabelledScan, Labels
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.volumes.metrics import Mask, dice


@dataclass(frozen=True)
class Shape:
    """Size and form of one label's mask.

    Attributes:
        volume_ml: in millilitres.
        extent_mm: from its first to its last slice.
        components: connected parts.
        largest: share of its volume that the largest part holds.
        continuity: mean Dice of neighbouring slices that show it.
    """

    volume_ml: float
    extent_mm: float
    components: int
    largest: float
    continuity: float


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
    """

    reverse: float
    agreement: float
    confidence: float
    similarity: Annotated[float, Field(alias="likeness")]  # its name on disk
    shape: Shape
    volume_ratio: float
    extent_ratio: float
    continuity_loss: float


def label_map_of(result: SegmentationResult) -> Labels:
    """Label values (Z, H, W) in the network's geometry; where labels overlap, the more probable."""
    values = np.array([0, *result.probability], dtype=np.uint8)
    half = np.full_like(next(iter(result.probability.values())), 0.5)
    winners = np.stack([half, *result.probability.values()]).argmax(axis=0)
    label_map: Labels = values[winners]
    return label_map


def measure(predictor: Predictor, result: SegmentationResult) -> dict[int, Signals]:
    """The signals of every label that was found.

    Args:
        predictor: that made `result`.
        result: what `Segmenter.find` found in a query.
    """
    label_map = label_map_of(result)
    similarity = _similarity(predictor, result)
    values = [value for value in result.probability if (label_map == value).any()]
    trips = [
        _round_trip(predictor.at_first_look(), result, label_map, values, scan, matches)
        for scan, matches in zip(result.scans, result.matches, strict=True)
    ]
    return {
        value: _signals_of(trips, result, label_map == value, value, similarity) for value in values
    }


@dataclass(frozen=True)
class _RoundTrip:
    """One labelled scan and the query, each segmented from the other.

    Attributes:
        scan: the labelled scan.
        back: the labelled scan's labels, segmented from the query's own mask.
        alone: the query's labels, segmented from this scan alone.
    """

    scan: LabelledScan
    back: dict[int, Mask]
    alone: dict[int, Mask]


def _round_trip(
    predictor: Predictor,
    result: SegmentationResult,
    label_map: Labels,
    values: Sequence[int],
    scan: LabelledScan,
    matches: Matches,
) -> _RoundTrip:
    """Both ways without a second look: one labelled slice for each slice."""
    query = LabelledScan("query", result.query, label_map)
    back = predictor.segment([query], scan.slices, MatchedSlices(), values)
    alone = predictor.segment([scan], result.query, MatchedSlices((matches,)), values)
    return _RoundTrip(scan, back.masks, alone.masks)


def _signals_of(
    trips: Sequence[_RoundTrip],
    result: SegmentationResult,
    mask: Mask,
    value: int,
    similarity: npt.NDArray[np.float64],
) -> Signals:
    """The signals of one label, from the labelled scans that show it."""
    probability = result.probability[value]
    showing = [
        (trip, trip.scan.label == value) for trip in trips if (trip.scan.label == value).any()
    ]
    shape = shape_of(mask, result.query.spacing)
    shapes = [shape_of(truth, trip.scan.slices.spacing) for trip, truth in showing]
    return Signals(
        reverse=fmean(dice(trip.back[value], truth) for trip, truth in showing),
        agreement=fmean(dice(trip.alone[value], mask) for trip, _ in showing),
        confidence=float(2 * probability[mask].sum() / (probability.sum() + mask.sum())),
        similarity=float(similarity[mask.any(axis=(1, 2))].mean()),
        shape=shape,
        volume_ratio=shape.volume_ml / fmean(other.volume_ml for other in shapes),
        extent_ratio=shape.extent_mm / fmean(other.extent_mm for other in shapes),
        continuity_loss=fmean(other.continuity for other in shapes) - shape.continuity,
    )


def shape_of(mask: Mask, spacing: tuple[float, float, float]) -> Shape:
    """Describe a mask (Z, H, W) that is not empty; spacing along z, y, x in mm."""
    shown = np.flatnonzero(mask.any(axis=(1, 2)))
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    steps = [dice(mask[[low]], mask[[high]]) for low, high in pairwise(shown)]
    return Shape(
        volume_ml=float(sizes.sum() * np.prod(spacing) / 1000),
        extent_mm=float((shown[-1] - shown[0] + 1) * spacing[0]),
        components=int(count),
        largest=float(sizes.max() / sizes.sum()),
        continuity=fmean(steps) if steps else 1.0,
    )


def _similarity(predictor: Predictor, result: SegmentationResult) -> npt.NDArray[np.float64]:
    """(Z,) similarity of each query slice to its match in the most similar labelled scan."""
    rows = [
        1
        - compare_slices(predictor.method, scan.slices, result.query)[range(len(matches)), matches]
        for scan, matches in zip(result.scans, result.matches, strict=True)
    ]
    return np.asarray(np.max(rows, axis=0))
