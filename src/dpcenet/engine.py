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
from dpcenet.methods.base import Method
from dpcenet.nn.alignment import align_slices, slice_costs
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


@torch.no_grad()
def encode_slices(
    method: Method, image: npt.NDArray[np.float32], device: torch.device, precision: Precision
) -> Features:
    """Features, ready for `match`, of the slices of a volume (Z, H, W); each is encoded once."""
    parts = []
    for start in range(0, len(image), BATCH):
        batch = torch.from_numpy(np.array(image[start : start + BATCH], np.float32))[:, None]
        parts.append(method.project(extract(method, batch.to(device), precision)))
    return Features.join(parts)


@torch.no_grad()
def predict_slices(
    method: Method,
    support: Features,
    support_masks: Tensor,
    query: Features,
    seed: int = 0,
    batch: int = BATCH,
) -> npt.NDArray[np.float32]:
    """Foreground probability (N, H, W) of query slices, all with the same support slices."""
    parts = [
        method.match(support, support_masks, query.rows(slice(start, start + batch)), seed=seed)
        .log_probs[:, 1]
        .exp()
        .cpu()
        for start in range(0, len(query), batch)
    ]
    probabilities: npt.NDArray[np.float32] = torch.cat(parts).float().numpy()
    return probabilities


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
) -> npt.NDArray[np.float32]:
    """Foreground probability (Z, H, W) of one label; 0 on slices that no task covers."""
    device = next(iter(support.features.maps.values())).device
    shape = (len(query.features), *support_label.shape[1:])
    probability = np.zeros(shape, dtype=np.float32)
    for task in tasks:
        probability[list(task.query)] = predict_slices(
            method,
            support.features.rows(list(task.support)),
            masks_of(support_label, task.support, value, device),
            query.features.rows(list(task.query)),
        )
    return probability
