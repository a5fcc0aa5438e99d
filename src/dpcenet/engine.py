"""The engine: what computes features and predictions without doing any work twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.config import Precision
from dpcenet.episodes.protocol import SliceTask
from dpcenet.errors import ConfigError
from dpcenet.methods.base import Method, SecondLook
from dpcenet.nn.alignment import align_slices, slice_costs
from dpcenet.nn.zoom import windows_around
from dpcenet.types import Encoded, Episode, Features

BATCH = 8  # slices encoded at once


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
) -> Encoded:
    """Encode the slices of a prepared scan (Z, H, W), each once."""
    images = torch.from_numpy(np.array(image, np.float32))[:, None].to(device)
    return Encoded(images, encode_slices(method, images, precision), spacing)


@torch.no_grad()
def encode_slices(method: Method, images: Tensor, precision: Precision) -> Features:
    """Features, ready for `match`, of slices (B, 1, H, W)."""
    starts = range(0, len(images), BATCH)
    parts = (extract(method, images[start : start + BATCH], precision) for start in starts)
    return Features.join([method.project(part) for part in parts])


@torch.no_grad()
def predict_slices(
    method: Method,
    support: Features,
    support_masks: Tensor,
    query: Features,
    seed: int = 0,
) -> Tensor:
    """Foreground probability (N, H, W) of query slices, all with the same support slices."""
    parts = [
        method.match(support, support_masks, query.rows(slice(start, start + BATCH)), seed=seed)
        .log_probs[:, 1]
        .exp()
        for start in range(0, len(query), BATCH)
    ]
    return torch.cat(parts).float()


@torch.no_grad()
def look_again(
    method: Method,
    look: SecondLook,
    support_images: Tensor,
    support_masks: Tensor,
    query_images: Tensor,
    first: Tensor,
    precision: Precision,
) -> Tensor:
    """Segment once more through windows around the organ; the mean of both answers inside them.

    Small organs fill few pixels of a whole slice. The window of a query lies where the organ was
    found first.

    Args:
        look: size of the windows.
        support_images: (Sh, 1, H, W); support_masks: (Sh, H, W).
        query_images: (N, 1, H, W); first: (N, H, W), the probabilities found in them.

    Returns:
        (N, H, W).
    """
    windows = windows_around(support_masks, first, look.gain, look.least)
    if windows is None:
        return first
    theirs, ours = windows
    masks = (theirs.cut(support_masks[:, None], look.size)[:, 0] > 0.5).float()
    support = encode_slices(method, theirs.cut(support_images, look.size), precision)
    query = encode_slices(method, ours.cut(query_images, look.size), precision)
    second = predict_slices(method, support, masks, query)
    back, inside = ours.paste(second, (first.shape[-2], first.shape[-1]))
    return torch.where(inside, (back + first) / 2, first)


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
) -> npt.NDArray[np.float32]:
    """Foreground probability (Z, H, W) of one label; 0 on slices that no task covers."""
    probability = torch.zeros(query.images[:, 0].shape)
    for task in tasks:
        theirs, ours = list(task.support), list(task.query)
        masks = masks_of(support_label, task.support, value, query.images.device)
        found = predict_slices(
            method, support.features.rows(theirs), masks, query.features.rows(ours)
        )
        if method.second_look is not None:
            images = support.images[theirs], masks, query.images[ours]
            found = look_again(method, method.second_look, *images, found, precision)
        probability[ours] = found.cpu()
    return probability.numpy()
