"""Features and predictions in batches that fit the memory, no slice computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.encoded import EncodedScan, give_back_tensor, joined, room_like
from dpcenet.methods.base import MatchJob, Method
from dpcenet.system.device import Precision, autocast
from dpcenet.system.large_arrays import blocks
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
) -> EncodedScan:
    """Encode the slices of a prepared scan (Z, H, W), each once.

    Args:
        method: with a trained network.
        image: normalised intensities.
        spacing: of the slices along z, y, x in mm.
        device: where to compute.
        precision: of the trunk.
    """
    images = room_like(torch.empty(1, 1, *image.shape[1:]), len(image))
    for part in blocks(image):
        images[part, 0] = torch.from_numpy(np.array(image[part], np.float32))
        give_back_tensor(images)
    images = images.to(device)
    return EncodedScan(images, encode_slices(method, images, precision), spacing)


@torch.no_grad()
def encode_slices(method: Method, images: Tensor, precision: Precision) -> Features:
    """Features, ready for `match`, of slices (B, 1, H, W)."""
    return joined(_encoded(method, images, precision), len(images))


@torch.no_grad()
def encode_map(method: Method, images: Tensor, precision: Precision, name: str) -> Tensor:
    """One map of the features of slices (B, 1, H, W): the others are not kept."""
    each = _encoded(method, images, precision)
    return joined((Features({name: one[name]}) for one in each), len(images))[name]


def encode_parts(method: Method, parts: Sequence[Tensor], precision: Precision) -> list[Features]:
    """Features of each part (B_i, 1, H, W), all of them encoded in common batches."""
    whole = encode_slices(method, torch.cat(list(parts)), precision)
    stops = np.cumsum([len(part) for part in parts]).tolist()
    return [
        whole.rows(slice(stop - len(part), stop)) for part, stop in zip(parts, stops, strict=True)
    ]


@torch.no_grad()
def predict(method: Method, jobs: Sequence[MatchJob]) -> list[Tensor]:
    """Foreground probability (N, H, W) of each job's query slices."""
    batch = min((_batch_of(job.query) for job in jobs), default=BATCH)
    return [found[:, 1].exp().float() for found in method.match_each(jobs, batch)]


def _encoded(method: Method, images: Tensor, precision: Precision) -> Iterator[Features]:
    """Features of batches of slices; the first is of one slice, which tells the size of maps."""
    start, count = 0, 1
    while start < len(images):
        maps = extract(method, images[start : start + count], precision)
        yield method.project(maps)
        give_back_tensor(images)
        start, count = start + count, _batch_of(maps)


def _batch_of(maps: Features) -> int:
    """How many slices to compute at once, if these are features of some."""
    on_cpu = [tensor[0].nbytes for tensor in maps.maps.values() if tensor.device.type == "cpu"]
    return max(1, min(BATCH, LARGEST // max(1, *on_cpu))) if on_cpu else BATCH
