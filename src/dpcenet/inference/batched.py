"""The engine: what computes features and predictions without doing any work twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.disk_features import joined
from dpcenet.inference.encoded import Encoded
from dpcenet.methods.base import Job, Method
from dpcenet.system.device import Precision, autocast
from dpcenet.types import Features

BATCH = 8  # slices computed at once, at most


# Bytes of a map of a batch on a CPU: larger blocks the C library takes from the system anew each
# time, and their first use made batch norm seven times as slow.
LARGEST = 2**25


def extract(method: Method, images: Tensor, precision: Precision) -> Features:
    """Trunk features of images (B, 1, H, W), in float32 whatever the trunk computed in."""
    with autocast(precision, images.device):
        return method.extract(images).apply(lambda tensor: tensor.float())


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


def masks_of(
    label: npt.NDArray[np.uint8], slices: Sequence[int], value: int, device: torch.device
) -> Tensor:
    """Binary masks (len(slices), H, W) float32 of one label on some slices."""
    chosen = np.asarray(label[list(slices)] == value, dtype=np.float32)
    return torch.from_numpy(chosen).to(device)
