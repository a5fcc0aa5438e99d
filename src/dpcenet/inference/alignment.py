"""Where in a query the body part lies that a labelled scan shows: one alignment in 3-D.

Two bodies differ by tens of percent, not by factors. So one straight line along z (shift and scale
in mm), with a scale, a turn and a shift in the plane, is found for all of the scan at once: the one
under which the features are most alike. Organs then lie a little higher or lower in one patient
than in another; each gets a line of its own near the common one, by the features in and right
around it. Nothing is asked of the query but its features.

All lengths are in mm from the beginning of a scan; slices of both run in the same direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.inference.feature_volume import (
    FeatureVolume,
    Labels,
    centre_of,
    near_labels,
    pair_likeness,
    whitened,
)

Places = npt.NDArray[np.floating]
"""Along z of a scan, in mm."""


@dataclass(frozen=True)
class ZLine:
    """query_mm + scale · (z − support_mm): where along z of the query a place of the support is."""

    support_mm: float
    query_mm: float
    scale: float

    def in_query(self, z: float) -> float:
        """The place of the query, in mm, for a place `z` of the support."""
        return self.query_mm + self.scale * (z - self.support_mm)

    def in_support(self, z: Places) -> Places:
        """Places of the support for places `z` of the query, both in mm."""
        return (z - self.query_mm) / self.scale + self.support_mm


@dataclass(frozen=True)
class InPlane:
    """How a query lies to a support in the plane.

    Attributes:
        scale: size in the query over size in the support, in mm.
        turn: degrees by which the support is turned, from y towards x.
        cells: shift along y and x in cells of the query.
        cell: side of such a cell in mm.
    """

    scale: float
    turn: float
    cells: tuple[int, int]
    cell: float

    @property
    def shift(self) -> tuple[float, float]:
        """Along y and x in mm."""
        return self.cells[0] * self.cell, self.cells[1] * self.cell


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
        starts: how many common lines are gone on with; what is alike by its features is not
            always what is the same, and a later look at the organs may tell.
        apart: least distance along z between two of them, in mm.
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
    starts: int = 5
    apart: float = 30.0


@dataclass(frozen=True)
class Alignment:
    """How a query lies to a labelled scan.

    Attributes:
        whole: along z, for all of the scan.
        organs: label value → its own line.
        plane: in the plane.
        similarity: mean cosine of whitened features, weighted by nearness to the labels.
        organ_similarity: label value → the same, in and right around the organ. Unlike scans have
            about 0; below about `DOUBTFUL` an organ is not where its line says.
    """

    whole: ZLine
    organs: Mapping[int, ZLine]
    plane: InPlane
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
) -> list[Alignment]:
    """Lay a labelled scan upon a query.

    Args:
        support, query: features of both, of the same network.
        label: (Z, H, W) uint8 of the support, on the slices that its volume was made of.
        values: labels that are wanted; those that the label map lacks get no line.
        search: what is tried.

    Returns:
        at most `search.starts` ways, the one with the most similar features first.

    Raises:
        ValueError: the label map shows none of the values.
    """
    search = search or AlignmentSearch()
    present = [value for value in values if (label == value).any()]
    if not present:
        raise ValueError(f"the label map shows none of {list(values)}")
    shown, seen = whitened(support, query)
    weight = near_labels(shown, label, present, search.near) * (1 - search.least) + search.least
    near = {v: near_labels(shown, label, [v], search.organ) * shown.body for v in present}
    found = []
    for whole, plane, similarity in _common_lines(shown, weight * shown.body, seen, search):
        lines = {v: _organ_line(shown, near[v], seen, whole, plane, search) for v in present}
        organs = {value: line for value, (line, _) in lines.items()}
        alike = {value: score for value, (_, score) in lines.items()}
        found.append(Alignment(whole, organs, plane, similarity, alike))
    return found


def _common_lines(
    support: FeatureVolume, weight: Tensor, query: FeatureVolume, search: AlignmentSearch
) -> Iterator[tuple[ZLine, InPlane, float]]:
    """Lines and poses in the plane for all of a scan, the best first, with their similarity.

    Args:
        support, query: of whitened features.
        weight: (Zs, h, w) of the support's cells.
        search: what is tried.
    """
    steps = torch.arange(-search.overhang, query.length + search.overhang, search.grid)
    middle = centre_of(support, weight)
    ways = list(product(search.plane_scales, search.turns))
    scores = torch.stack(
        [
            line_scores(
                pair_likeness(support, weight, query, way, search.reach),
                support.places,
                query,
                middle,
                search.scales,
                steps,
            )
            for way in ways
        ]
    )
    total = scores - search.stretch * stretch_of(search.scales)
    for _ in range(search.starts):
        way, shift, scale, step = best_of(total)
        if not math.isfinite(float(total[way, shift, scale, step])):
            return
        y, x = (i - search.reach for i in divmod(shift, 2 * search.reach + 1))
        line = ZLine(middle, float(steps[step]), search.scales[scale])
        plane = InPlane(*ways[way], (y, x), query.cell)
        yield line, plane, float(scores[way, shift, scale, step])
        total[..., (steps - steps[step]).abs() < search.apart] = -math.inf


def _organ_line(
    support: FeatureVolume,
    weight: Tensor,
    query: FeatureVolume,
    whole: ZLine,
    plane: InPlane,
    search: AlignmentSearch,
) -> tuple[ZLine, float]:
    """The line of one organ near that of the whole scan, and the similarity under it.

    In the plane the organ lies as the whole scan, give or take a cell.
    """
    way = plane.scale, plane.turn
    alike = pair_likeness(support, weight, query, way, 1, plane.cells)
    middle = centre_of(support, weight)
    there = whole.in_query(middle)
    moves = torch.arange(-search.organ_reach, search.organ_reach + 1, 3.0)
    scales = [whole.scale * factor for factor in search.organ_scales]
    scores = line_scores(alike, support.places, query, middle, scales, there + moves)
    total = scores - search.organ_stretch * stretch_of(search.organ_scales)
    total = total - search.organ_shift * (moves / 30).square()
    shift, scale, move = best_of(total)
    line = ZLine(middle, there + float(moves[move]), scales[scale])
    return line, float(scores[shift, scale, move])


def line_scores(
    alike: Tensor,
    places: Tensor,
    query: FeatureVolume,
    middle: float,
    scales: Sequence[float],
    steps: Tensor,
) -> Tensor:
    """Likeness along lines: (D, scales, steps). What lies outside the query is like nothing.

    Args:
        alike: (D, Zs, Zq).
        places: (Zs,) of the support's slices in mm.
        query: whose slices `alike` has.
        middle: place of the support in mm that the lines lead to `steps` of the query.
        scales: of the lines.
        steps: (B,) in mm.
    """
    padded = F.pad(alike, (1, 1))
    last = padded.shape[-1] - 1
    scores = []
    for scale in scales:
        there = scale * (places - middle)[:, None] + steps  # (Zs, B)
        index = (there / query.step + 0.5).clamp(0, last - 1e-3)
        low = index.floor().long().expand(len(padded), -1, -1)
        part = index - index.floor()
        value = padded.gather(2, low) * (1 - part) + padded.gather(2, low + 1) * part
        scores.append(value.sum(1))
    return torch.stack(scores, 1)


def stretch_of(scales: Sequence[float]) -> Tensor:
    """(log scale)², (scales, 1): 0 for a patient of the same size."""
    return torch.tensor(scales).log().square()[:, None]


def best_of(scores: Tensor) -> tuple[int, ...]:
    """The index of the greatest score, the first one where several are."""
    return tuple(int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape))
