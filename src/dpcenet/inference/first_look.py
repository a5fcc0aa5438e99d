"""The first look: what a method finds in whole slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dpcenet.inference.batched import BATCH, predict
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_tasks import SliceTask
from dpcenet.inference.support import LabelledScan, features_of, masks_of
from dpcenet.methods.base import MatchJob, Method

GROUP = 4 * BATCH  # slices of small tasks that are segmented together


@dataclass(frozen=True)
class FirstAnswer:
    """What was found of one label at first look.

    Attributes:
        value: of the label.
        task: its support slices and query slices.
        masks: (Sh, H, W) float of the support slices.
        probability: (N, H, W) of the query slices.
    """

    value: int
    task: SliceTask
    masks: Tensor
    probability: Tensor


def first_answers(
    method: Method,
    scans: Sequence[LabelledScan],
    query: EncodedScan,
    group: Sequence[tuple[int, SliceTask]],
) -> list[FirstAnswer]:
    """What is found of each label.

    Args:
        method: with a trained network.
        scans: the labelled scans, which the tasks name by number.
        query: the scan that is segmented.
        group: labels and their tasks, which are computed together.
    """
    masks = [masks_of(scans, task.support, value) for value, task in group]
    # The same objects for the same slices: by them a method knows what it computed before.
    ours = {task.support: features_of(scans, task.support) for _, task in group}
    theirs = {task.query: query.features_of(task.query) for _, task in group}
    jobs = [
        MatchJob(ours[task.support], mask, theirs[task.query])
        for (_, task), mask in zip(group, masks, strict=True)
    ]
    found = zip(group, masks, predict(method, jobs), strict=True)
    return [FirstAnswer(value, task, mask, one) for (value, task), mask, one in found]


def pieces(task: SliceTask) -> list[SliceTask]:
    """The task in parts of at most `GROUP` query slices: one slice may serve hundreds of them."""
    first = range(0, len(task.query), GROUP)
    return [replace(task, query=task.query[start : start + GROUP]) for start in first]


def in_groups(every: Iterable[tuple[int, SliceTask]]) -> Iterator[list[tuple[int, SliceTask]]]:
    """Labels' tasks that together fill a batch; those of the same slices follow each other."""
    group: list[tuple[int, SliceTask]] = []
    for one in sorted(every, key=lambda one: (one[1].query, one[1].support)):
        group.append(one)
        if sum(len(task.query) for _, task in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group
