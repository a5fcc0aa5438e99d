"""The engine: what computes features and predictions without doing any work twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.config import Precision
from dpcenet.episodes.protocol import SliceTask
from dpcenet.errors import ConfigError
from dpcenet.methods.base import Job, Method, SecondLook
from dpcenet.nn.alignment import align_slices, slice_costs
from dpcenet.nn.zoom import windows_around
from dpcenet.spill import on_disk
from dpcenet.types import Encoded, Episode, Features

BATCH = 8  # slices encoded at once
GROUP = 4 * BATCH  # slices of small tasks that are segmented together


def choose_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one.

    Raises:
        ConfigError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name}: cannot be used ({str(error).splitlines()[0]})"
        ) from error
    return device


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """What "auto" means on a device: the faster of float32 and bfloat16, measured on a layer."""
    if precision != "auto":
        return precision
    layer = torch.nn.Conv2d(128, 128, 3, padding=1).to(device)
    images = torch.zeros(2, 128, 64, 64, device=device)
    seconds = {kind: _seconds(layer, images, kind) for kind in ("float32", "bfloat16")}
    return "bfloat16" if seconds["bfloat16"] < 0.8 * seconds["float32"] else "float32"


@torch.no_grad()
def _seconds(layer: torch.nn.Module, images: Tensor, precision: Precision) -> float:
    """The fastest of a few forward passes; the first one, which warms up, is not counted."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        with autocast(precision, images.device):
            layer(images).sum().item()  # .item() waits for a GPU
        times.append(time.perf_counter() - start)
    return min(times[1:])


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Runs what is inside in bfloat16 if `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
    starts = range(0, len(images), BATCH)
    parts = (
        method.project(extract(method, images[start : start + BATCH], precision))
        for start in starts
    )
    return Features.join(list(parts)) if disk is None else on_disk(parts, len(images), disk)


@torch.no_grad()
def predict(method: Method, jobs: Sequence[Job]) -> list[Tensor]:
    """Foreground probability (N, H, W) of each job's query slices."""
    return [found[:, 1].exp().float() for found in method.match_each(jobs, BATCH)]


@torch.no_grad()
def look_again(
    method: Method,
    look: SecondLook,
    support: Encoded,
    query: Encoded,
    value: int,
    tasks: Sequence[SliceTask],
    masks: Sequence[Tensor],
    first: Sequence[Tensor],
    precision: Precision,
) -> list[Tensor]:
    """Segment once more through windows around the organ; the mean of both answers inside them.

    Small organs fill few pixels of a whole slice. The window of a query lies where the organ was
    found first.

    Args:
        look: size of the windows.
        value: the label.
        tasks: which support slices serve which query slices.
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
    ours = _encode_parts(
        method,
        [pair[1].cut(query.images[list(tasks[i].query)], look.size) for i, pair in windows.items()],
        precision,
    )
    if support.closeups is not None:  # kept in place of a scan's images
        kept = support.closeups
        theirs = [
            kept.of(value, list(tasks[i].support), pair[0].half) for i, pair in windows.items()
        ]
    else:
        cuts = [
            pair[0].cut(support.images[list(tasks[i].support)], look.size)
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
    costs = slice_costs(method.describe(query.features), method.describe(support.features))
    return align_slices(costs, query.spacing[0], support.spacing[0])


def segment_label(
    method: Method,
    support: Encoded,
    support_label: npt.NDArray[np.uint8],
    query: Encoded,
    value: int,
    tasks: Sequence[SliceTask],
    precision: Precision = "float32",
    second_look: bool = True,
) -> npt.NDArray[np.float32]:
    """Foreground probability (Z, H, W) of one label; 0 on slices that no task covers.

    Without `second_look` features suffice: no window is encoded.
    """
    probability = torch.zeros(query.images[:, 0].shape)
    for group in _groups(tasks):
        masks = [masks_of(support_label, t.support, value, query.images.device) for t in group]
        jobs = [
            Job(
                support.features.rows(list(task.support)),
                mask,
                query.features.rows(list(task.query)),
            )
            for task, mask in zip(group, masks, strict=True)
        ]
        found = predict(method, jobs)
        if second_look and method.second_look is not None and query.closeups is None:
            found = look_again(
                method, method.second_look, support, query, value, group, masks, found, precision
            )
        for task, one in zip(group, found, strict=True):
            probability[list(task.query)] = one.cpu()
    return probability.numpy()


def _groups(tasks: Sequence[SliceTask]) -> Iterator[list[SliceTask]]:
    """Tasks that together fill a batch, so that many small ones cost little more than one."""
    group: list[SliceTask] = []
    for task in tasks:
        group.append(task)
        if sum(len(one.query) for one in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group
