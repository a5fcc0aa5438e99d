"""What tells, without the truth, how good a segmentation is.

Everything is computed from features that are there already: no image is encoded again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.inference.encoded import Encoded
from dpcenet.inference.predictor import segment_labels
from dpcenet.inference.slice_matching import compare_slices, match_slices
from dpcenet.inference.slice_tasks import blind_tasks
from dpcenet.inference.support import Found, Labelled
from dpcenet.segmentation.segmenter import Segmenter
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
    """What speaks for or against one label's mask in one query.

    Attributes:
        reverse: Dice of the support, segmented from the query's own answer, with its true mask.
        agreement: Dice of the answer with what a single matched support slice says at first look;
            the mean over the support scans.
        confidence: Dice of the answer with the probabilities that it was cut from.
        likeness: 1 − the descriptors' distance of the matched slices, where the label was found.
        shape: of the answer.
        volume_ratio, extent_ratio: the answer's over the support's.
        continuity_loss: the support's continuity minus the answer's.
    """

    reverse: float
    agreement: float
    confidence: float
    likeness: float
    shape: Shape
    volume_ratio: float
    extent_ratio: float
    continuity_loss: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signals:
        """The signals that `dataclasses.asdict` wrote down."""
        return cls(**{**data, "shape": Shape(**data["shape"])})


def answer_of(found: Found) -> npt.NDArray[np.uint8]:
    """Label values (Z, H, W) in the network's geometry; where labels overlap, the likelier."""
    values = np.array([0, *found.probability], dtype=np.uint8)
    half = np.full_like(next(iter(found.probability.values())), 0.5)
    winners = np.stack([half, *found.probability.values()]).argmax(axis=0)
    answer: npt.NDArray[np.uint8] = values[winners]
    return answer


def measure(segmenter: Segmenter, found: Found) -> dict[int, Signals]:
    """The signals of every label of which something was found.

    Args:
        segmenter: that made `found`.
        found: what `Segmenter.find` says of a query.
    """
    answer = answer_of(found)
    likeness = _likeness(segmenter, found)
    values = [value for value in found.probability if (answer == value).any()]
    ways = [
        _way(segmenter, found, answer, values, scan, forth)
        for scan, forth in zip(found.scans, found.matches, strict=True)
    ]
    return {value: _signals_of(ways, found, answer == value, value, likeness) for value in values}


@dataclass(frozen=True)
class _Way:
    """To a labelled scan and back.

    Attributes:
        scan: the labelled scan.
        back: its labels as the query's answer gives them.
        alone: the query's labels as this scan alone gives them.
    """

    scan: Labelled
    back: dict[int, Mask]
    alone: dict[int, Mask]


def _way(
    segmenter: Segmenter,
    found: Found,
    answer: npt.NDArray[np.uint8],
    values: Sequence[int],
    scan: Labelled,
    forth: npt.NDArray[np.int64],
) -> _Way:
    back = match_slices(segmenter.method, found.query, scan.slices)
    return _Way(
        scan,
        _carried(segmenter, found.query, answer, scan.slices, values, back),
        _carried(segmenter, scan.slices, scan.label, found.query, values, forth),
    )


def _signals_of(
    ways: Sequence[_Way],
    found: Found,
    mask: Mask,
    value: int,
    likeness: npt.NDArray[np.float64],
) -> Signals:
    """The signals of one label, from the labelled scans that show it."""
    probability = found.probability[value]
    showing = [(way, way.scan.label == value) for way in ways if (way.scan.label == value).any()]
    shape = shape_of(mask, found.query.spacing)
    shapes = [shape_of(truth, way.scan.slices.spacing) for way, truth in showing]
    return Signals(
        reverse=fmean(dice(way.back[value], truth) for way, truth in showing),
        agreement=fmean(dice(way.alone[value], mask) for way, _ in showing),
        confidence=float(2 * probability[mask].sum() / (probability.sum() + mask.sum())),
        likeness=float(likeness[mask.any(axis=(1, 2))].mean()),
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


def _carried(
    segmenter: Segmenter,
    source: Encoded,
    label: npt.NDArray[np.uint8],
    target: Encoded,
    values: Sequence[int],
    matches: npt.NDArray[np.int64],
) -> dict[int, Mask]:
    """Labels of a scan in another scan, each slice from the one that it matches, at first look.

    They have less to go by than an answer: a single labelled slice, and no window.
    """
    tasks = {value: blind_tasks(matches, label, value) for value in values}
    found = segment_labels(
        segmenter.method, source, label, target, tasks, segmenter.precision, second_look=False
    )
    return {value: np.asarray(probability > 0.5) for value, probability in found.items()}


def _likeness(segmenter: Segmenter, found: Found) -> npt.NDArray[np.float64]:
    """(Z,) how like each query slice is to those that it matches; the best support scan counts."""
    rows = [
        1 - compare_slices(segmenter.method, scan.slices, found.query)[range(len(matches)), matches]
        for scan, matches in zip(found.scans, found.matches, strict=True)
    ]
    return np.asarray(np.max(rows, axis=0))
