"""The engine: what computes features and predictions without doing any work twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.config import Precision
from dpcenet.errors import ConfigError
from dpcenet.methods.base import Method
from dpcenet.types import Episode, Features

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


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Reduced precision for the trunk. "auto" takes bfloat16 on GPUs that compute it natively."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    enabled = precision == "bfloat16" or (precision == "auto" and native)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


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
