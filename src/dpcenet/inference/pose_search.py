"""A support brought into the pose of a query before it serves.

The planes of two scans may lie quite otherwise in two patients, as those of hearts do: turned by
60° and more. Which turn, size and place makes the support's features most like the query's is
found from images and the support's mask alone; the support is then turned, scaled and moved, and
encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.batched import encode_slices
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.pose import Pose, likeness
from dpcenet.inference.second_look import Windows, centre_and_spread
from dpcenet.inference.slice_tasks import SliceTask
from dpcenet.methods.base import Method, PoseSearch
from dpcenet.system.device import Precision

Labels = npt.NDArray[np.uint8]
Pairs = Sequence[tuple[int, int]]
"""Slices of the support and of the query that are compared."""


def bring(
    method: Method,
    support: Encoded,
    label: Labels,
    values: Collection[int],
    query: Encoded,
    pairs: Pairs,
    precision: Precision,
    disk: Path | None = None,
) -> tuple[Encoded, Labels]:
    """The support's slices and labels (Z, H, W) as they would lie in the query.

    They come back as they are where the method does not search for poses, where the support's
    images are not at hand, or where there is nothing to compare.

    Args:
        method: with a trained network.
        support, label: a labelled scan.
        values: of `label`, that are segmented; the others have no say.
        query: the scan to be segmented.
        pairs: slices of which it is known or guessed that they show the same. Those whose support
            slice shows no wanted label are left out.
        precision: of the trunk.
        disk: folder in which the features of a support that moved lie instead of in memory.
    """
    search = method.pose_search
    if search is None or support.closeups is not None:
        return support, label
    wanted = np.where(np.isin(label, list(values)), label, 0).astype(np.uint8)
    shows = np.asarray(wanted.any(axis=(1, 2)))
    shown = [(s, q) for s, q in pairs if shows[s]]
    if not shown:
        return support, label
    pose = find_pose(method, search, support, wanted, query, shown, precision)
    if pose.is_still:
        return support, label
    images = pose.carry(support.images)
    moved = torch.from_numpy(wanted.astype(np.float32))[:, None].to(images.device)
    carried = pose.carry(moved, "nearest")[:, 0].to(torch.uint8).cpu().numpy()
    features = encode_slices(method, images, precision, disk)
    return replace(support, images=images, features=features), carried


def find_pose(
    method: Method,
    search: PoseSearch,
    support: Encoded,
    label: Labels,
    query: Encoded,
    pairs: Pairs,
    precision: Precision,
) -> Pose:
    """The pose in which the support's features are most like the query's, around its labels.

    Each round of the search goes on from the pose that the one before found best. Without a clear
    gain the pose of the support stays: in most parts of the body patients lie alike.
    """
    chosen = [pairs[i] for i in _evenly(len(pairs), search.pairs)]
    shown = support.images[[s for s, _ in chosen]]
    seen = query.images[[q for _, q in chosen]]
    start, half = _region(search, label)
    pose, gain, still = start, 0.0, None
    for turns, scales in search.rounds:
        windows = Windows(torch.tensor([pose.seen] * len(seen), device=seen.device), half)
        query_maps = _maps(method, search, windows.cut(seen, search.size), precision)
        candidates = [
            replace(pose, turn=pose.turn + turn, scale=pose.scale * scale)
            for turn in turns
            for scale in scales
        ]
        looks = torch.cat([one.look(shown, half, search.size) for one in candidates])
        maps = _maps(method, search, looks, precision)
        maps = maps.view(len(candidates), -1, *maps.shape[1:])
        scores = likeness(maps, query_maps, search.spread, search.reach)
        if still is None:
            still = float(scores[candidates.index(start), search.reach, search.reach])
        pose, score = _best(search, candidates, scores, start, half, query_maps.shape[-1])
        gain = score - still
    return pose if gain > search.margin else start


def matched_pairs(matches: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Each query slice, behind the support slice that it matches."""
    return [(int(s), q) for q, s in enumerate(matches)]


def pairs_of(tasks: Sequence[SliceTask]) -> list[tuple[int, int]]:
    """Of each task its support slices, each with the middle query slice."""
    return [(s, task.query[len(task.query) // 2]) for task in tasks for s in task.support]


def _region(search: PoseSearch, label: Labels) -> tuple[Pose, float]:
    """The pose of a query that lies as the support, and half of the side of windows around all
    labels."""
    masks = torch.from_numpy((label > 0).astype(np.float32))
    centres, spreads = centre_and_spread(masks[masks.flatten(1).any(1)])
    y, x = centres.mean(0).tolist()
    largest = search.most * max(label.shape[1:])
    half = min(largest, max(search.least, search.gain * float(spreads.max())))
    return Pose((y, x), (y, x)), half


def _maps(method: Method, search: PoseSearch, images: Tensor, precision: Precision) -> Tensor:
    return encode_slices(method, images, precision)[search.map]


def _best(
    search: PoseSearch,
    candidates: Sequence[Pose],
    scores: Tensor,
    start: Pose,
    half: float,
    places: int,
) -> tuple[Pose, float]:
    """The candidate and displacement of most likeness, less the doubt of lying otherwise at all."""
    best, best_score = start, -math.inf
    for candidate, table in zip(candidates, scores.cpu().numpy(), strict=True):
        for (row, column), score in np.ndenumerate(table):
            steps = (2 * half / places * (i - search.reach) for i in (row, column))
            y, x = (old + step for old, step in zip(candidate.seen, steps, strict=True))
            pose = replace(candidate, seen=(y, x))
            score = float(score) - search.doubt * _otherness(pose, start, half)
            if score > best_score:
                best, best_score = pose, score
    return best, best_score


def _otherness(pose: Pose, start: Pose, half: float) -> float:
    """1 for a turn of 90°, for a displacement by a window, and for double or half the size."""
    moved = sum(abs(a - b) for a, b in zip(pose.seen, start.seen, strict=True))
    return abs(pose.turn) / 90 + moved / (2 * half) + abs(math.log2(pose.scale))


def _evenly(count: int, most: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most)).tolist()})
