"""A scan of which every slice is encoded once, in batches that fit the memory; so are predictions.

Its features lie in memory or on disk, from where the system reads them when they are asked for.
Windows of a labelled scan may stand for its images.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.methods.base import MatchJob, Method
from dpcenet.system.device import Precision
from dpcenet.system.files import reserve
from dpcenet.system.large_arrays import blocks, give_back_range, is_large
from dpcenet.types import Features


@dataclass(frozen=True)
class EncodedWindows:
    """Windows around the organs of a labelled scan, encoded beforehand in place of its images.

    Attributes:
        rows: (label value, slice) → (half of a window's side in pixels, its row in `features`).
        features: of all windows.
    """

    rows: Mapping[tuple[int, int], tuple[tuple[float, int], ...]]
    features: Features

    def hold(self, value: int, slices: Sequence[int], half: float) -> bool:
        """Whether windows of one size around a label on some slices are here: older task files have
        none that are close."""
        kept = [self.rows.get((value, z), ()) for z in slices]
        return all(any(abs(one - half) < 0.01 * half for one, _ in each) for each in kept)

    def of(self, value: int, slices: Sequence[int], half: float) -> Features:
        """Features of the windows of one size around a label on some slices."""
        kept = (self.rows[value, z] for z in slices)
        return self.features.rows([min(w, key=lambda w: abs(w[0] - half))[1] for w in kept])


@dataclass(frozen=True)
class EncodedScan:
    """A prepared scan of which every slice was encoded once.

    Attributes:
        images: (Z, 1, H, W) float, the slices themselves; zeros where `windows` stand for them.
        features: of its Z slices, ready for a method's `match`.
        spacing: of the prepared slices along z, y, x in mm.
        windows: what a task file keeps instead of images; None where the images are there.
    """

    images: Tensor
    features: Features
    spacing: tuple[float, float, float]
    windows: EncodedWindows | None = None

    def __len__(self) -> int:
        return len(self.images)

    def give_back(self) -> None:
        """Let go of what of it lies in files and was read; see `system.large_arrays`."""
        for tensor in (self.images, *self.features.maps.values()):
            give_back_tensor(tensor)

    def features_of(self, slices: Sequence[int]) -> Features:
        """Features of some slices; those of neighbours in order are not copied."""
        first, stop = slices[0], slices[-1] + 1
        in_order = list(slices) == list(range(first, stop))
        return self.features.rows(slice(first, stop) if in_order else list(slices))


def joined(parts: Iterable[Features], count: int) -> Features:
    """Join batches of features as they come, so that they are never held twice.

    Args:
        parts: batches, `count` rows together.
        count: rows of all.
    """
    maps: dict[str, Tensor] = {}
    start = 0
    for part in parts:
        for name, tensor in part.maps.items():
            if name not in maps:
                maps[name] = room_like(tensor, count)
            maps[name][start : start + len(tensor)] = tensor
            give_back_tensor(maps[name])
        start += len(part)
    return Features(maps)


def room_like(tensor: Tensor, count: int) -> Tensor:
    """A tensor of `count` rows, in the layout of one that has other rows. A large one on the CPU
    lies in a file without a name; see `system.large_arrays`."""
    shape = (count, *tensor.shape[1:])
    channels = tensor.ndim == 4 and tensor.shape[1] > 1  # of a single one, both layouts are one
    last = channels and tensor.is_contiguous(memory_format=torch.channels_last)
    size = math.prod(shape) * tensor.dtype.itemsize
    if tensor.device.type == "cpu" and is_large(size):
        with suppress(OSError):  # no room on the disk: it lies in memory
            return _nameless(shape, tensor.dtype, last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


def give_back_tensor(tensor: Tensor) -> None:
    """Let go of the memory of a tensor of `room_like` that lies in a file; its values stay."""
    storage = tensor.untyped_storage()
    if tensor.device.type == "cpu" and storage.filename is not None:
        give_back_range(storage.data_ptr(), storage.nbytes())


def _nameless(shape: tuple[int, ...], dtype: torch.dtype, last: bool) -> Tensor:
    """A tensor whose memory is a file without a name."""
    size = math.prod(shape)
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size * dtype.itemsize)
        reserve(file.fileno(), 0, size * dtype.itemsize)
        flat = torch.from_file(file.name, shared=True, size=size, dtype=dtype)
    if not last:
        return flat.view(shape)
    count, channels, height, width = shape
    return flat.view(count, height, width, channels).permute(0, 3, 1, 2)


BATCH = 8  # slices computed at once, at most
# Bytes of a map of a batch on a CPU: larger blocks the C library takes from the system anew each
# time, and their first use made batch norm seven times as slow.
LARGEST = 2**25


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Runs what is inside in bfloat16 if `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
def predict(method: Method, jobs: Sequence[MatchJob], precision: Precision) -> list[Tensor]:
    """Foreground probability (N, H, W) of each job's query slices.

    Features are compared in float32 but by a method that allows less; see `Method.low_matching`.
    """
    if not jobs:
        return []
    batch = min(_batch_of(job.query) for job in jobs)
    with autocast(precision if method.low_matching else "float32", jobs[0].masks.device):
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
