"""A labelled scan is aligned with a query in the plane before it serves as support.

Slices of two patients may be rotated against each other by 60° and more, as those of hearts are.
Which rotation, scale and displacement make the support's features most similar to the query's is
found from the images and the support's mask alone; the support is then warped and encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.batched import BATCH, encode_map, encode_slices
from dpcenet.inference.encoded import EncodedScan, give_back_tensor, room_like
from dpcenet.inference.pose import Pose, similarity
from dpcenet.inference.second_look import Windows, centre_and_spread
from dpcenet.inference.slice_tasks import Matches
from dpcenet.inference.support import LabelledScan, Labels
from dpcenet.methods.base import Method, PoseSearch
from dpcenet.system.device import Precision

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

    Each round of the search starts from the best pose of the round before. Without a clear gain
    the pose of the support stays: in most parts of the body patients lie alike.
    """
    chosen = [pairs[i] for i in _evenly(len(pairs), search.pairs)]
    ours = support.images[[s for s, _ in chosen]]
    theirs = query.images[[q for _, q in chosen]]
    start, half = _region(search, label)
    pose, gain, unchanged = start, 0.0, None
    for rotations, scales in search.rounds:
        centres = torch.tensor([pose.query_centre] * len(theirs), device=theirs.device)
        windows = Windows(centres, half).cut(theirs, search.size)
        query_maps = encode_map(method, windows, precision, search.map)
        candidates = [
            replace(pose, rotation=pose.rotation + rotation, scale=pose.scale * scale)
            for rotation, scale in product(rotations, scales)
        ]
        looks = torch.cat([one.windows(ours, half, search.size) for one in candidates])
        maps = encode_map(method, looks, precision, search.map)
        maps = maps.view(len(candidates), -1, *maps.shape[1:])
        scores = similarity(maps, query_maps, search.spread, search.reach)
        if unchanged is None:
            unchanged = float(scores[candidates.index(start), search.reach, search.reach])
        pose, score = _best(search, candidates, scores, start, half, query_maps.shape[-1])
        gain = score - unchanged
    return pose if gain > search.min_gain else start


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


def _best(
    search: PoseSearch,
    candidates: Sequence[Pose],
    scores: Tensor,
    start: Pose,
    half: float,
    cells: int,
) -> tuple[Pose, float]:
    """The candidate and displacement of the greatest similarity, less the penalty of any change.

    Args:
        search: weighs the penalty.
        candidates: K poses.
        scores: (K, D, D) similarities under displacements by −reach … reach cells.
        start: the pose without a change.
        half: half of a window's side in pixels.
        cells: along a window's side.
    """
    steps = 2 * half / cells * (np.arange(scores.shape[1]) - search.reach)
    centre_y, centre_x = candidates[0].query_centre  # the same for all candidates of a round
    y, x = centre_y + steps, centre_x + steps
    moved = np.abs(y - start.query_centre[0])[:, None] + np.abs(x - start.query_centre[1])
    turned = np.abs([one.rotation for one in candidates])[:, None, None] / 90
    scaled = np.array([abs(math.log2(one.scale)) for one in candidates])[:, None, None]
    change = turned + moved / (2 * half) + scaled
    total: npt.NDArray[np.float64] = scores.double().cpu().numpy() - search.penalty * change
    k, row, column = map(int, np.unravel_index(int(total.argmax()), total.shape))
    pose = replace(candidates[k], query_centre=(float(y[row]), float(x[column])))
    return pose, float(total[k, row, column])


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 … count − 1, spread evenly."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most)).tolist()})
