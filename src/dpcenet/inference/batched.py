"""The engine: what computes features and predictions without doing any work twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.disk_features import joined
from dpcenet.inference.second_look import windows_around
from dpcenet.inference.slice_matching import align_slices, slice_costs
from dpcenet.inference.slice_tasks import SliceTask
from dpcenet.methods.base import Job, Method, SecondLook
from dpcenet.system.device import Precision, autocast
from dpcenet.types import Encoded, Episode, Features

BATCH = 8  # slices computed at once, at most


# Bytes of a map of a batch on a CPU: larger blocks the C library takes from the system anew each
# time, and their first use made batch norm seven times as slow.
LARGEST = 2**25


GROUP = 4 * BATCH  # slices of small tasks that are segmented together


Asked = tuple[int, SliceTask]


"""A label, and slices in which it is looked for."""


def extract(method: Method, images: Tensor, precision: Precision) -> Features:
    """Trunk features of images (B, 1, H, W), in float32 whatever the trunk computed in."""
    with autocast(precision, images.device):
        return method.extract(images).apply(lambda tensor: tensor.float())


def with_trunk_features(
    episodes: Iterable[Episode], method: Method, precision: Precision, ahead: int
) -> Iterator[tuple[Episode, Features]]:
    """Episodes with the trunk features of their support and query, a few episodes ahead.

    A frozen trunk does not change, so the features of coming episodes can be computed in one
    batch; the result is the same as episode by episode.
    """
    stream = iter(episodes)
    while group := list(islice(stream, ahead)):
        images = [torch.cat([e.support_images, e.query_images]) for e in group]
        with torch.no_grad():
            features = extract(method, torch.cat(images), precision)
        start = 0
        for episode, part in zip(group, images, strict=True):
            yield episode, features.rows(slice(start, start + len(part)))
            start += len(part)


def encode_scan(
    method: Method,
    image: npt.NDArray[np.float32],
    spacing: tuple[float, float, float],
    device: torch.device,
    precision: Precision,
    disk: Path | None = None,
) -> Encoded:
    """Encode the slices of a prepared scan (Z, H, W), each once.

    With `disk`, a folder, the features lie in nameless files there instead of in memory.
    """
    images = torch.from_numpy(np.array(image, np.float32))[:, None].to(device)
    return Encoded(images, encode_slices(method, images, precision, disk), spacing)


@torch.no_grad()
def encode_slices(
    method: Method, images: Tensor, precision: Precision, disk: Path | None = None
) -> Features:
    """Features, ready for `match`, of slices (B, 1, H, W)."""
    return joined(_encoded(method, images, precision), len(images), disk)


def _encoded(method: Method, images: Tensor, precision: Precision) -> Iterator[Features]:
    """Features of batches of slices; the first is of one slice, which tells the size of maps."""
    start, count = 0, 1
    while start < len(images):
        maps = extract(method, images[start : start + count], precision)
        yield method.project(maps)
        start, count = start + count, _batch_of(maps)


def _batch_of(maps: Features) -> int:
    """How many slices to compute at once, if these are features of some."""
    on_cpu = [tensor[0].nbytes for tensor in maps.maps.values() if tensor.device.type == "cpu"]
    return max(1, min(BATCH, LARGEST // max(1, *on_cpu))) if on_cpu else BATCH


@torch.no_grad()
def predict(method: Method, jobs: Sequence[Job]) -> list[Tensor]:
    """Foreground probability (N, H, W) of each job's query slices."""
    batch = min((_batch_of(job.query) for job in jobs), default=BATCH)
    return [found[:, 1].exp().float() for found in method.match_each(jobs, batch)]


@torch.no_grad()
def look_again(
    method: Method,
    look: SecondLook,
    support: Encoded,
    query: Encoded,
    asked: Sequence[Asked],
    masks: Sequence[Tensor],
    first: Sequence[Tensor],
    precision: Precision,
) -> list[Tensor]:
    """Segment once more through windows around the organ; the mean of both answers inside them.

    The window of a query lies where the organ was found first.

    Args:
        look: size of the windows.
        asked: labels, and which support slices serve which query slices.
        masks: (Sh, H, W) of each task's support slices.
        first: of each task, the probabilities (N, H, W) found in its query slices.

    Returns:
        (N, H, W) of each task.
    """
    found = list(first)
    windows = {
        i: pair
        for i, (shown, seen) in enumerate(zip(masks, first, strict=True))
        if (pair := windows_around(shown, seen, look.gain, look.least)) is not None
    }
    cuts = [
        pair[1].cut(query.images[list(asked[i][1].query)], look.size) for i, pair in windows.items()
    ]
    ours = _encode_parts(method, cuts, precision)
    if support.closeups is not None:  # kept in place of a scan's images
        kept = support.closeups
        theirs = [
            kept.of(asked[i][0], list(asked[i][1].support), pair[0].half)
            for i, pair in windows.items()
        ]
    else:
        cuts = [
            pair[0].cut(support.images[list(asked[i][1].support)], look.size)
            for i, pair in windows.items()
        ]
        theirs = _encode_parts(method, cuts, precision)
    small = [
        (pair[0].cut(masks[i][:, None], look.size)[:, 0] > 0.5).float()
        for i, pair in windows.items()
    ]
    second = predict(method, [Job(*job) for job in zip(theirs, small, ours, strict=True)])
    for (i, pair), closer in zip(windows.items(), second, strict=True):
        back, inside = pair[1].paste(closer, (first[i].shape[-2], first[i].shape[-1]))
        found[i] = torch.where(inside, (back + first[i]) / 2, first[i])
    return found


def _encode_parts(method: Method, parts: Sequence[Tensor], precision: Precision) -> list[Features]:
    """Features of each part, all of them encoded in common batches."""
    if not parts:
        return []
    whole = encode_slices(method, torch.cat(list(parts)), precision)
    stops = np.cumsum([len(part) for part in parts]).tolist()
    return [
        whole.rows(slice(stop - len(part), stop)) for part, stop in zip(parts, stops, strict=True)
    ]


def masks_of(
    label: npt.NDArray[np.uint8], slices: Sequence[int], value: int, device: torch.device
) -> Tensor:
    """Binary masks (len(slices), H, W) float32 of one label on some slices."""
    chosen = np.asarray(label[list(slices)] == value, dtype=np.float32)
    return torch.from_numpy(chosen).to(device)


def match_slices(method: Method, support: Encoded, query: Encoded) -> npt.NDArray[np.int64]:
    """For each slice of the query the support slice that it matches, from features alone."""
    costs = compare_slices(method, support, query)
    return align_slices(costs, query.spacing[0], support.spacing[0])


def compare_slices(method: Method, support: Encoded, query: Encoded) -> npt.NDArray[np.float64]:
    """(Zq, Zs), how unlike each slice of the query is to each of the support."""
    return slice_costs(*descriptors(method, query, support))


def descriptors(method: Method, *scans: Encoded) -> list[npt.NDArray[np.float64]]:
    """(Z, d) of each scan, to be compared with one another.

    A scan differs more from another than its slices from one another; so a method may see them
    from their scan's own mean. A single slice has none.
    """
    rows = [method.describe(scan.features) for scan in scans]
    if method.own_mean and min(map(len, rows)) > 1:
        return [each - each.mean(axis=0) for each in rows]
    return rows


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
