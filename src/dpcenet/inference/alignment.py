"""Where in a query the body part lies that a labelled scan shows: one alignment in three dimensions.

Two bodies differ by tens of percent, not by factors. So one straight line along z (shift and scale
in mm), with a scale, a turn and a shift in the plane, is found for all of the scan at once: the one
under which the features are most alike. Organs then lie a little higher or lower in one patient
than in another; each gets a line of its own near the common one, by the features in and right
around it. Nothing is asked of the query but its features.

All lengths are in mm from the beginning of a scan; slices of both run in the same direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.inference.feature_volume import FeatureVolume, whitened
from dpcenet.inference.line_search import (
    Labels,
    line_scores,
    near_labels,
    pair_likeness,
    stretch_of,
)


@dataclass(frozen=True)
class AlignmentSearch:
    """What is tried.

    Attributes:
        scales: along z, of the query to the support.
        plane_scales: in the plane.
        turns: in the plane, in degrees; features are taken to turn with the image, which those of
            a convolutional network do for small turns only.
        reach: largest shift in the plane, in cells of the query.
        grid: distance of tried shifts along z, in mm.
        overhang: how far the support's middle may lie outside the query, in mm.
        near: deviation in mm of the weight around all labels; `least` is what the rest has.
        organ: the same deviation around a single organ.
        organ_reach: largest shift of an organ from the common line, in mm.
        organ_scales: of an organ, to the common line.
        stretch, organ_stretch: penalty of (log scale)².
        organ_shift: penalty of (shift / 30 mm)².
    """

    scales: tuple[float, ...] = (0.72, 0.78, 0.84, 0.9, 0.96, 1.0, 1.04, 1.1, 1.18, 1.26, 1.36)
    plane_scales: tuple[float, ...] = (0.85, 1.0, 1.18)
    turns: tuple[float, ...] = (0.0,)
    reach: int = 2
    grid: float = 4.0
    overhang: float = 50.0
    near: float = 60.0
    least: float = 0.05
    organ: float = 12.0
    organ_reach: float = 60.0
    organ_scales: tuple[float, ...] = (0.75, 0.82, 0.9, 1.0, 1.1, 1.22, 1.35)
    stretch: float = 0.5
    organ_stretch: float = 1.0
    organ_shift: float = 0.01


@dataclass(frozen=True)
class ZLine:
    """query_mm + scale · (z − support_mm): where along z of the query a place of the support is."""

    support_mm: float
    query_mm: float
    scale: float

    def in_support(self, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Places of the support for places `z` of the query, both in mm."""
        return (z - self.query_mm) / self.scale + self.support_mm


@dataclass(frozen=True)
class Alignment:
    """How a query lies to a labelled scan.

    Attributes:
        whole: along z, for all of the scan.
        organs: label value → its own line.
        shift: in the plane, along y and x in mm.
        plane_scale, turn: in the plane.
        similarity: mean cosine of whitened features, weighted by nearness to the labels.
        organ_similarity: label value → the same, in and right around the organ. Unlike scans have
            about 0; below about `DOUBTFUL` an organ is not where its line says.
    """

    whole: ZLine
    organs: Mapping[int, ZLine]
    shift: tuple[float, float]
    plane_scale: float
    turn: float
    similarity: float
    organ_similarity: Mapping[int, float] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        """The similarity of the worst organ, 0 where nothing is alike."""
        return max(0.0, min([self.similarity, *self.organ_similarity.values()]))


DOUBTFUL = 0.1


def align_volumes(
    support: FeatureVolume,
    label: Labels,
    values: Sequence[int],
    query: FeatureVolume,
    search: AlignmentSearch | None = None,
) -> Alignment:
    """Lay a labelled scan upon a query.

    Args:
        support, query: features of both, of the same network.
        label: (Z, H, W) uint8 of the support, on the slices that its volume was made of.
        values: labels that are wanted; those that the label map lacks get no line.
        search: what is tried.

    Raises:
        ValueError: the label map shows none of the values.
    """
    search = search or AlignmentSearch()
    present = [value for value in values if (label == value).any()]
    if not present:
        raise ValueError(f"the label map shows none of {list(values)}")
    shown, seen = whitened(support, query)
    weight = near_labels(shown, label, present, search.near) * (1 - search.least) + search.least
    ways = list(product(search.plane_scales, search.turns))
    steps = torch.arange(-search.overhang, query.length + search.overhang, search.grid)
    found = []
    for way in ways:
        alike, shares = pair_likeness(shown, weight * shown.body, seen, way, search.reach)
        middle = float((shown.places * shares).sum() / shares.sum())
        scores = line_scores(alike, shares, shown.places, seen, middle, search.scales, steps)
        found.append((scores - search.stretch * stretch_of(search.scales), scores, middle))
    total = torch.stack([penalised for penalised, _, _ in found])
    way, shift, scale, step = np.unravel_index(int(total.argmax()), total.shape)
    whole = ZLine(found[way][2], float(steps[step]), search.scales[scale])
    side = 2 * search.reach + 1
    place = divmod(int(shift), side)
    organs = {
        v: _organ_line(shown, label, v, seen, whole, ways[way], place, search) for v in present
    }
    return Alignment(
        whole,
        {value: line for value, (line, _) in organs.items()},
        ((place[0] - search.reach) * query.cell, (place[1] - search.reach) * query.cell),
        *ways[way],
        float(found[way][1][shift, scale, step]),
        {value: alike for value, (_, alike) in organs.items()},
    )


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
    shows = np.flatnonzero((label == value).any(axis=(1, 2)))
    served = np.full(query_slices, -1, dtype=np.int64)
    if not len(shows):
        return served
    places = line.in_support((np.arange(query_slices) + 0.5) * query_mm)
    first, last = shows[0] * support_mm - margin, (shows[-1] + 1) * support_mm + margin
    inside = (places >= first) & (places <= last)
    nearest = np.abs(shows[None] - (places[inside, None] / support_mm - 0.5)).argmin(axis=1)
    served[inside] = shows[nearest]
    return served


def _organ_line(
    support: FeatureVolume,
    label: Labels,
    value: int,
    query: FeatureVolume,
    whole: ZLine,
    way: tuple[float, float],
    place: tuple[int, int],
    search: AlignmentSearch,
) -> tuple[ZLine, float]:
    """The line of one organ near that of the whole scan, and the similarity under it."""
    weight = near_labels(support, label, [value], search.organ) * support.body
    side = 2 * search.reach + 1
    alike, shares = pair_likeness(support, weight, query, way, search.reach)
    rows, columns = (slice(max(0, i - 1), i + 2) for i in place)
    alike = alike.view(side, side, *alike.shape[1:])[rows, columns].flatten(0, 1)
    middle = float((support.places * shares).sum() / shares.sum().clamp_min(1e-6))
    there = whole.query_mm + whole.scale * (middle - whole.support_mm)
    moves = torch.arange(-search.organ_reach, search.organ_reach + 1, 3.0)
    scales = [whole.scale * factor for factor in search.organ_scales]
    scores = line_scores(alike, shares, support.places, query, middle, scales, there + moves)
    total = scores - search.organ_stretch * stretch_of(search.organ_scales)
    total = total - search.organ_shift * (moves / 30).square()
    shift, scale, move = np.unravel_index(int(total.argmax()), total.shape)
    line = ZLine(middle, there + float(moves[move]), scales[scale])
    return line, float(scores[shift, scale, move])
