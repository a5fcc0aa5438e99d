"""The pose of a query relative to a support in the plane: rotation and displacement.

Slices of two patients may be rotated against each other by 60° and more, as those of hearts are.
Which pose makes the support's features most similar to the query's is found from the images and the
support's mask alone; the support is then warped and encoded again before it serves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.inference.encoded import (
    BATCH,
    EncodedScan,
    encode_map,
    encode_slices,
    give_back_tensor,
    room_like,
)
from dpcenet.inference.looks import Windows, centre_and_spread
from dpcenet.inference.support import LabelledScan, Labels, Matches
from dpcenet.methods.base import Method, PoseSearch
from dpcenet.system.device import Precision


@dataclass(frozen=True)
class Pose:
    """A rigid transform of the plane, the same for all slices.

    Attributes:
        support_centre: (y, x) in pixels of the support, which corresponds to
        query_centre: (y, x) in pixels of the query.
        rotation: degrees by which the support is rotated, from y towards x.
    """

    support_centre: tuple[float, float]
    query_centre: tuple[float, float]
    rotation: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether the query has the pose of the support."""
        return self == Pose(self.support_centre, self.support_centre)

    def windows(self, images: Tensor, half: float, size: int) -> Tensor:
        """Square windows of support images (B, C, H, W) around their centre, in the query's pose.

        Args:
            images: of the support.
            half: half of a window's side, in pixels of the query.
            size: pixels of a window.

        Returns:
            (B, C, size, size), bilinear.
        """
        axis = half * ((torch.arange(size, device=images.device) * 2 + 1) / size - 1)
        return self._sampled(images, axis, axis, "bilinear")

    def warp(self, images: Tensor, mode: str = "bilinear") -> Tensor:
        """Support images (B, C, H, W) in the query's pose; pixels outside repeat the border.

        `mode` is that of `grid_sample`.
        """
        rows, columns = (
            torch.arange(n, device=images.device) - middle
            for n, middle in zip(images.shape[-2:], self.query_centre, strict=True)
        )
        return self._sampled(images, rows, columns, mode)

    def _sampled(self, images: Tensor, y: Tensor, x: Tensor, mode: str) -> Tensor:
        """Images at positions of the query, given as distances from its centre along y and x."""
        cos, sin = (f(math.radians(self.rotation)) for f in (math.cos, math.sin))
        down = self.support_centre[0] + cos * y[:, None] + sin * x
        across = self.support_centre[1] - sin * y[:, None] + cos * x
        height, width = images.shape[-2:]
        grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], -1)
        return F.grid_sample(
            images,
            grid.expand(len(images), -1, -1, -1),
            mode,
            padding_mode="border",
            align_corners=False,
        )


def similarity(support: Tensor, query: Tensor, spread: float, reach: int) -> Tensor:
    """How similar two sets of maps are under each displacement: (K, 2·reach + 1, 2·reach + 1).

    Σ_x g(x)·⟨s_k(x), q(x + d)⟩ / Σ_x g(x) over the cells x + d that exist, the mean of P pairs of
    slices; s and q have length 1 at every cell, after their map's mean is taken off.

    Args:
        support: (K, P, C, n, n), P slices as each of K candidate poses shows them.
        query: (P, C, n, n).
        spread: standard deviation of the Gaussian g around the middle, in halves of a window.
        reach: largest displacement d, in cells.
    """
    ours, theirs = (
        F.normalize(x - x.mean((-2, -1), keepdim=True), dim=-3) for x in (support, query)
    )
    axis = torch.linspace(-1, 1, theirs.shape[-1], device=theirs.device)
    weight = torch.exp(-(axis[:, None].square() + axis.square()) / spread**2)
    wide = F.conv2d(theirs.flatten(0, 1)[None], (ours * weight).flatten(1, 2), padding=reach)[0]
    inside = F.conv2d(torch.ones_like(weight)[None, None], weight[None, None], padding=reach)[0]
    return wide / (inside * len(theirs))


Pairs = Sequence[tuple[int, int]]
"""Slices of the support and of the query that are compared."""


def align_support(
    method: Method,
    support: LabelledScan,
    values: Collection[int],
    query: EncodedScan,
    pairs: Pairs,
    precision: Precision,
) -> LabelledScan:
    """The labelled scan in the query's pose.

    It comes back unchanged where the method searches no pose, where the support's images are not
    at hand, or where there is nothing to compare.

    Args:
        method: with a trained network.
        support: the labelled scan.
        values: of its label, that are segmented; the others have no say.
        query: the scan to be segmented.
        pairs: slices that are known or guessed to show the same. Those whose support slice shows
            no wanted label are left out.
        precision: of the trunk.
    """
    search = method.pose_search
    if search is None or support.slices.windows is not None:
        return support
    wanted = np.where(np.isin(support.label, list(values)), support.label, 0).astype(np.uint8)
    shows = np.asarray(wanted.any(axis=(1, 2)))
    compared = [(s, q) for s, q in pairs if shows[s]]
    if not compared:
        return support
    pose = find_pose(method, search, support.slices, wanted, query, compared, precision)
    if pose.is_identity:
        return support
    images = room_like(support.slices.images, len(wanted))
    warped = np.empty_like(wanted)
    for start in range(0, len(wanted), BATCH):  # a long scan is large, and its label in float32 too
        part = slice(start, start + BATCH)
        images[part] = pose.warp(support.slices.images[part])
        label = torch.from_numpy(wanted[part].astype(np.float32))[:, None].to(images.device)
        warped[part] = pose.warp(label, "nearest")[:, 0].to(torch.uint8).cpu().numpy()
        give_back_tensor(images)
    features = encode_slices(method, images, precision)
    slices = replace(support.slices, images=images, features=features)
    return replace(support, slices=slices, label=warped)


def find_pose(
    method: Method,
    search: PoseSearch,
    support: EncodedScan,
    label: Labels,
    query: EncodedScan,
    pairs: Pairs,
    precision: Precision,
) -> Pose:
    """The pose in which the support's features are most similar to the query's, near its labels.

    A change must be worth its penalty, and some gain: in most parts of the body patients lie alike.
    """
    chosen = [pairs[i] for i in _evenly(len(pairs), search.pairs)]
    ours = support.images[[s for s, _ in chosen]]
    theirs = query.images[[q for _, q in chosen]]
    start, half = _region(search, label)
    centres = torch.tensor([start.query_centre] * len(theirs), device=theirs.device)
    windows = Windows(centres, half).cut(theirs, search.size)
    query_maps = encode_map(method, windows, precision, search.map)
    candidates = [replace(start, rotation=rotation) for rotation in search.rotations]
    looks = torch.cat([one.windows(ours, half, search.size) for one in candidates])
    maps = encode_map(method, looks, precision, search.map)
    maps = maps.view(len(candidates), -1, *maps.shape[1:])
    scores = similarity(maps, query_maps, search.spread, search.reach)
    return best_pose(search, candidates, scores, start, half, query_maps.shape[-1])


def matched_pairs(matches: Matches) -> list[tuple[int, int]]:
    """Each query slice, behind the support slice that it matches."""
    return [(int(s), q) for q, s in enumerate(matches)]


def _region(search: PoseSearch, label: Labels) -> tuple[Pose, float]:
    """The pose of a query that lies as the support, and half of the side of windows around all
    labels."""
    masks = torch.from_numpy((label > 0).astype(np.float32))
    centres, spreads = centre_and_spread(masks[masks.flatten(1).any(1)])
    y, x = centres.mean(0).tolist()
    largest = search.max_half * max(label.shape[1:])
    half = min(largest, max(search.min_half, search.gain * float(spreads.max())))
    return Pose((y, x), (y, x)), half


def best_pose(
    search: PoseSearch,
    candidates: Sequence[Pose],
    scores: Tensor,
    start: Pose,
    half: float,
    cells: int,
) -> Pose:
    """The candidate and displacement of the greatest similarity, less the penalty of any change.

    Args:
        search: weighs the penalty.
        candidates: K poses with the centre of `start`, one of which it is.
        scores: (K, D, D) similarities under displacements by −reach … reach cells.
        start: the pose without a change.
        half: half of a window's side in pixels.
        cells: along a window's side.

    Returns:
        the pose; `start` where nothing gains more than `search.min_gain`.
    """
    steps = 2 * half / cells * (np.arange(scores.shape[1]) - search.reach)
    moved = np.abs(steps)[:, None] + np.abs(steps)
    turned = np.abs([one.rotation for one in candidates])[:, None, None] / 90
    total: npt.NDArray[np.float64] = scores.double().cpu().numpy()
    total = total - search.penalty * (turned + moved / (2 * half))
    k, row, column = map(int, np.unravel_index(int(total.argmax()), total.shape))
    unchanged = total[candidates.index(start), search.reach, search.reach]
    if total[k, row, column] - unchanged <= search.min_gain:
        return start
    y, x = start.query_centre
    return replace(candidates[k], query_centre=(y + float(steps[row]), x + float(steps[column])))


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 … count − 1, spread evenly."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most)).tolist()})
