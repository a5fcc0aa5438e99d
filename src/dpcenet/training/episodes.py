"""Training episodes. Episode n is a pure function of (seed, n), whatever the number of workers.

A draw ends in an `EpisodePlan`, which names slices and views; `render` turns it into tensors. An
engine that keeps features of slices and views reads the plan instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dpcenet.data.splits import admissible_slices
from dpcenet.data.store import PreparedCase
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.training.augmentation import PLAIN, AugmentOptions, View, apply_view, draw_view
from dpcenet.types import Episode

Source = Literal["supervoxel", "superpixel", "labels", "synthetic", "mixed"]
Place = tuple[int, int, int]  # case, slice, target segment


@dataclass(frozen=True)
class EpisodeOptions:
    """Where training episodes come from.

    Attributes:
        source: "supervoxel" takes adjacent slices of one supervoxel (ADNet's lineage);
            "superpixel" two views of one slice (SSL-ALPNet's); "labels" organ labels of two scans;
            "synthetic" made-up pairs; "mixed" these and supervoxels in turn.
        min_area: pixels that the target must have on the larger of the two slices.
        views: 0 draws a fresh view each time; V > 0 draws from V fixed views of each slice, so
            that their features can be kept.
        augment: ranges of the views.
        made_size: pixels per side of made-up pairs.
    """

    source: Source = "supervoxel"
    min_area: int = 200
    views: int = 0
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    made_size: int = 256


@dataclass(frozen=True)
class SliceView:
    """One slice under one view, and which segment of it is the target."""

    case: int
    z: int
    target: int
    view: View
    view_index: int = 0


@dataclass(frozen=True)
class EpisodePlan:
    """What was drawn for one episode."""

    support: SliceView
    query: SliceView
    seed: int


class EpisodeSampler(Dataset[Episode]):
    """Draws episodes from prepared cases.

    Args:
        cases: training cases.
        options: the source of the targets, and the augmentation.
        seed: of the whole sequence of episodes.
        excluded: labels whose slices are left out (Setting 2), with the rule that decides.
        labels: organ labels to train on, for the source "labels".
        device: where slices are warped and pairs made up.

    Raises:
        ConfigError: fixed views of made-up pairs.
        DatasetError: no slice of these cases can make an episode.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        options: EpisodeOptions,
        seed: int,
        excluded: Sequence[int] = (),
        exclusion: Literal["any", "all"] = "any",
        labels: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.cases = tuple(cases)
        self.options = options
        self.seed = seed
        self._made: PairGenerator | None = None
        if options.source in ("synthetic", "mixed"):
            if options.views:
                raise ConfigError("episodes.views: made-up pairs have no fixed views; set it to 0")
            self._made = PairGenerator(
                seed, 1, PairOptions(size=options.made_size, targets=1), self.device
            )
        real = () if options.source == "synthetic" else self.cases
        allowed = [
            admissible_slices(case.label, excluded, exclusion)
            if excluded
            else np.ones(len(case.image), dtype=bool)
            for case in self.cases
        ]
        self.allowed = allowed
        self.dropped_slices = int(sum((~mask).sum() for mask in allowed))
        self._segments = [_segments(case, options.source) for case in real]
        areas = [_areas(segments) for segments in self._segments]
        if options.source == "labels":
            areas = [_only(area, labels) for area in areas]
        self._choices = [
            _choices(area, ok, options) for area, ok in zip(areas, allowed, strict=bool(real))
        ]
        self._usable = [i for i, choice in enumerate(self._choices) if choice]
        if real and not self._usable:
            raise DatasetError(
                f"no episode can be drawn: no {options.source} of the cases has at least "
                f"{options.min_area} pixels on an admissible slice; prepare with a smaller "
                "segment size, or lower episodes.min_area"
            )

    def plan(self, n: int) -> EpisodePlan:
        """Draw episode n."""
        random = np.random.default_rng(np.random.SeedSequence([self.seed, n]))
        if self.options.source == "labels":
            pair = self._label_pair(random)
        else:
            pair = self._segment_pair(random)
        views = self._views(random, pair)
        support, query = (SliceView(*place, *view) for place, view in zip(pair, views, strict=True))
        return EpisodePlan(support, query, int(random.integers(2**31)))

    def __getitem__(self, n: int) -> Episode:
        if self._made is None or (self.options.source == "mixed" and n % 2):
            return self.render(self.plan(n))
        pair = self._made(n)
        return Episode(
            pair.support_images,
            pair.support_masks[:, 0],
            pair.query_images,
            pair.query_masks[:, 0],
            seed=n,
        )

    def render(self, plan: EpisodePlan) -> Episode:
        """The tensors of a plan: one support, one query, float32."""
        support_image, support_mask = self.slice(plan.support)
        query_image, query_mask = self.slice(plan.query)
        return Episode(support_image, support_mask, query_image, query_mask, plan.seed)

    def slice(self, which: SliceView) -> tuple[Tensor, Tensor]:
        """Image (1, 1, H, W) and target mask (1, H, W) of one slice under its view."""
        image = torch.from_numpy(np.array(self.cases[which.case].image[which.z], np.float32))
        mask = self._segments[which.case][which.z] == which.target
        return apply_view(
            image[None, None].to(self.device),
            torch.from_numpy(mask.astype(np.float32))[None].to(self.device),
            which.view,
            self.options.augment,
        )

    def _segment_pair(self, random: np.random.Generator) -> tuple[Place, Place]:
        """(case, slice, target) of support and query: adjacent slices, or one slice twice."""
        case = self._usable[random.integers(len(self._usable))]
        choices = self._choices[case]
        target = list(choices)[random.integers(len(choices))]
        starts = choices[target]
        first = int(starts[random.integers(len(starts))])
        if self.options.source == "superpixel":
            return (case, first, target), (case, first, target)
        pair = ((case, first, target), (case, first + 1, target))
        return pair if random.random() < 0.5 else (pair[1], pair[0])

    def _label_pair(self, random: np.random.Generator) -> tuple[Place, Place]:
        """The same organ at the same relative height in two scans (or one, if there is one)."""
        one = self._usable[random.integers(len(self._usable))]
        target = list(self._choices[one])[random.integers(len(self._choices[one]))]
        others = [i for i in self._usable if i != one and target in self._choices[i]] or [one]
        two = others[random.integers(len(others))]
        height = random.random()
        slices = (self._choices[case][target] for case in (one, two))
        z_one, z_two = (int(zs[int(height * len(zs))]) for zs in slices)
        return (one, z_one, target), (two, z_two, target)

    def _views(
        self, random: np.random.Generator, pair: tuple[Place, Place]
    ) -> tuple[tuple[View, int], tuple[View, int]]:
        """A view for support and query each, with its number among the fixed views."""
        options = self.options.augment
        if options.place == "none":
            return (PLAIN, 0), (PLAIN, 0)
        size = self.size(pair[0][0])
        if self.options.views:
            one, two = random.choice(self.options.views, 2, replace=self.options.views < 2)
            indices = (int(one), int(two))
            views = [self.view(case, z, v) for (case, z, _), v in zip(pair, indices, strict=True)]
            return (views[0], indices[0]), (views[1], indices[1])
        if options.place == "both":
            return (draw_view(random, options, size), 0), (draw_view(random, options, size), 0)
        gamma_on_support, geometry_on_support = random.random() < 0.5, random.random() < 0.5
        support = draw_view(random, options, size, geometry_on_support, gamma_on_support)
        query = draw_view(random, options, size, not geometry_on_support, not gamma_on_support)
        return (support, 0), (query, 0)

    def view(self, case: int, z: int, index: int) -> View:
        """View `index` of the fixed views of a slice: 0 is plain; the fold does not matter."""
        if index == 0:
            return PLAIN
        seed = [index, z, zlib.crc32(self.cases[case].name.encode())]
        return draw_view(np.random.default_rng(seed), self.options.augment, self.size(case))

    def size(self, case: int) -> tuple[int, int]:
        """H, W of the slices of a case."""
        height, width = self.cases[case].image.shape[-2:]
        return height, width


def _segments(case: PreparedCase, source: Source) -> npt.NDArray[np.integer]:
    if source == "labels":
        return case.label
    return case.superpixels if source == "superpixel" else case.supervoxels


def _areas(segments: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """(Z, K+1) pixels of every segment on every slice; column 0, the background, is zero."""
    count = int(segments.max()) + 1
    areas = np.stack([np.bincount(plane.ravel(), minlength=count) for plane in segments])
    areas[:, 0] = 0
    return areas


def _only(areas: npt.NDArray[np.int64], labels: Sequence[int]) -> npt.NDArray[np.int64]:
    kept = np.isin(np.arange(areas.shape[1]), labels)
    return np.where(kept, areas, 0)


def _choices(
    areas: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], options: EpisodeOptions
) -> dict[int, npt.NDArray[np.int64]]:
    """Segment → the slices (for supervoxels, the lower of two neighbours) that make an episode."""
    shown = (areas > 0) & allowed[:, None]
    if options.source in ("supervoxel", "mixed"):
        largest = np.maximum(areas[:-1], areas[1:])
        good = shown[:-1] & shown[1:] & (largest >= options.min_area)
    elif options.source == "superpixel":
        good = shown
    else:
        good = shown & (areas >= options.min_area)
    return {int(k): np.flatnonzero(good[:, k]) for k in np.flatnonzero(good.any(axis=0))}
