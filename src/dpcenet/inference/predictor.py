"""Which support slices serve which slices of a query, by the protocol, and in which pose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.evaluation.protocols import Rules, Scans, every_slice_tasks, organ_tasks
from dpcenet.inference.batched import BATCH, masks_of, predict
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.pose_search import bring, matched_pairs, pairs_of
from dpcenet.inference.second_look import look_again
from dpcenet.inference.slice_matching import match_slices
from dpcenet.inference.slice_tasks import SliceTask, blind_shot_tasks, with_neighbours
from dpcenet.methods.base import Job, Method
from dpcenet.system.device import Precision


@dataclass(frozen=True)
class Serving:
    """What a method is given to segment a query.

    Attributes:
        slices, label: of all support scans, one after the other.
        tasks: label value → which support slices serve which query slices.
    """

    slices: Encoded
    label: npt.NDArray[np.uint8]
    tasks: dict[int, list[SliceTask]]


def plain_serving(
    method: Method, support: Scans, query: Scans, rules: Rules, values: Sequence[int]
) -> Serving:
    """The support as it is, a single slice at a time."""
    tasks = _tasks_of(method, support.each(), support.labels, query, rules, values)
    return Serving(support.slices, np.concatenate(support.labels), tasks)


def posed_serving(
    method: Method,
    support: Scans,
    query: Scans,
    rules: Rules,
    plain: Serving,
    precision: Precision,
) -> Serving:
    """The support in the query's pose, and beside the chosen slices the neighbours that help.

    Where slices are matched by the images alone, they are matched again in that pose.
    """
    served, values = plain, list(plain.tasks)
    masks: Sequence[npt.NDArray[np.uint8]] = support.labels
    if method.pose_search is not None:
        known = pairs_of([task for tasks in plain.tasks.values() for task in tasks])
        scans, masks, start = list[Encoded](), list[npt.NDArray[np.uint8]](), 0
        for case, slices in zip(support.cases, support.each(), strict=True):
            if rules.protocol == "paper":
                pairs = [(s - start, q) for s, q in known if 0 <= s - start < len(case.image)]
            else:
                pairs = matched_pairs(match_slices(method, slices, query.slices))
            brought = bring(method, slices, case.label, values, query.slices, pairs, precision)
            scans.append(brought[0])
            masks.append(brought[1])
            start += len(case.image)
        tasks = plain.tasks
        if rules.protocol == "blind":
            tasks = _tasks_of(method, scans, masks, query, rules, values)
        served = Serving(Encoded.join(scans), np.concatenate(masks), tasks)
    reach = rules.reach(method)
    near = {v: with_neighbours(t, masks, v, reach) for v, t in served.tasks.items()}
    return replace(served, tasks=near)


def _tasks_of(
    method: Method,
    scans: Sequence[Encoded],
    labels: Sequence[npt.NDArray[np.uint8]],
    query: Scans,
    rules: Rules,
    values: Sequence[int],
) -> dict[int, list[SliceTask]]:
    """Which slices of the support scans serve which slices of the query, by the protocol."""
    (target,) = query.cases
    if rules.protocol == "blind":
        matches = [match_slices(method, scan, query.slices) for scan in scans]
        return {v: blind_shot_tasks(matches, labels, v) for v in values}
    if rules.protocol == "ep2":
        return {v: every_slice_tasks(labels, len(target.image), v) for v in values}
    return {v: organ_tasks(labels, target.label, v, rules.chunks, rules.bounds) for v in values}


GROUP = 4 * BATCH  # slices of small tasks that are segmented together


Asked = tuple[int, SliceTask]


"""A label, and slices in which it is looked for."""


def segment_labels(
    method: Method,
    support: Encoded,
    support_label: npt.NDArray[np.uint8],
    query: Encoded,
    tasks: Mapping[int, Sequence[SliceTask]],
    precision: Precision = "float32",
    second_look: bool = True,
) -> dict[int, npt.NDArray[np.float32]]:
    """Foreground probability (Z, H, W) of each label; 0 on slices that none of its tasks covers.

    Labels are segmented together: what slices have to do with each other serves all of them.
    Without `second_look` features suffice: no window is encoded.
    """
    shape = query.images[:, 0].shape
    probability = {value: torch.zeros(shape) for value in tasks}
    for group in _groups(tasks):
        masks = [masks_of(support_label, t.support, v, query.images.device) for v, t in group]
        shown = {t.support: support.features.rows(_rows(t.support)) for _, t in group}
        seen = {t.query: query.features.rows(_rows(t.query)) for _, t in group}
        jobs = [
            Job(shown[t.support], mask, seen[t.query])
            for (_, t), mask in zip(group, masks, strict=True)
        ]
        found = predict(method, jobs)
        if second_look and method.second_look is not None and query.closeups is None:
            found = look_again(
                method, method.second_look, support, query, group, masks, found, precision
            )
        for (value, task), one in zip(group, found, strict=True):
            probability[value][list(task.query)] = one.cpu()
    return {value: found.numpy() for value, found in probability.items()}


def _rows(slices: tuple[int, ...]) -> slice | list[int]:
    """An index of slices; of neighbours in order, one that copies nothing."""
    start, stop = slices[0], slices[-1] + 1
    return slice(start, stop) if slices == tuple(range(start, stop)) else list(slices)


def _groups(tasks: Mapping[int, Sequence[SliceTask]]) -> Iterator[list[Asked]]:
    """Labels' tasks that together fill a batch; those of the same slices follow each other."""
    every = [(value, task) for value, of_label in tasks.items() for task in of_label]
    group: list[Asked] = []
    for asked in sorted(every, key=lambda one: (one[1].query, one[1].support)):
        group.append(asked)
        if sum(len(task.query) for _, task in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group
