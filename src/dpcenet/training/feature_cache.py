"""Trunk features that are kept: with a frozen trunk, a slice is encoded once for all runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.inference.encoded import BATCH, EncodedScan, extract
from dpcenet.methods.base import Method
from dpcenet.nn.weights import hash_of_state
from dpcenet.system.device import Precision
from dpcenet.system.faults import NO_SPACE
from dpcenet.system.files import hash_of, reserve, write_atomically
from dpcenet.system.lock import held
from dpcenet.training.episodes import EpisodePlan, EpisodeSampler, SliceView
from dpcenet.types import Episode, Features


class FeatureBank:
    """Trunk features of a data set's slices under their fixed views.

    Args:
        dataset: the prepared data set; the bank lies in its folder.
        sampler: draws from fixed views (`episodes.views` > 0).
        method: its trunk must be frozen.
        precision: of the trunk.
        device: where the trunk computes.
        limit_gb: what does not fit is computed each time.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        sampler: EpisodeSampler,
        method: Method,
        precision: Precision,
        device: torch.device,
        limit_gb: float,
    ) -> None:
        self.sampler, self.method = sampler, method
        self.precision, self.device = precision, device
        self.views = sampler.options.views
        starts = np.cumsum([0, *(len(case.image) for case in dataset.cases)])
        names = [case.name for case in dataset.cases]
        self.first = dict(zip(names, starts.tolist(), strict=False))
        key = hash_of(
            {
                **origin_of(dataset, method, precision),
                "views": [self.views, asdict(sampler.options.augment)],
            }
        )
        folder = dataset.folder / "features" / key[:16]
        folder.mkdir(parents=True, exist_ok=True)
        example = self._compute(SliceView(0, 0, 0, sampler.view(0, 0, 0)))
        self._lock = folder / "lock"
        with held(self._lock, wait=True):
            self._open(folder, int(starts[-1]) * self.views, example, limit_gb)

    def _open(self, folder: Path, total: int, example: Features, limit_gb: float) -> None:
        """Map the files of the bank, making them where they do not exist."""
        size = sum(2 * maps[0].numel() for maps in example.maps.values())
        capacity = max(1, min(total, int(limit_gb * 1e9 / size)))
        self.rows = _mapped(folder / "rows.npy", (total,), np.int64)
        self.maps = {
            name: _mapped(folder / f"{name}.npy", (capacity, *maps.shape[1:]), np.float16)
            for name, maps in example.maps.items()
        }

    def features(self, which: SliceView) -> Features:
        """Trunk features (1, C, h, w) of a slice under its view, rounded to float16."""
        case = self.sampler.cases[which.case].name
        place = (self.first[case] + which.z) * self.views + which.view_index
        row = int(self.rows[place])
        if row == 0:
            return self._store(place, self._compute(which))
        return Features(
            {
                name: torch.from_numpy(maps[row - 1 : row].astype(np.float32)).to(self.device)
                for name, maps in self.maps.items()
            }
        )

    def _store(self, place: int, features: Features) -> Features:
        """Keep features if there is room in the bank and on the disk; the row is named last, so a
        kill leaves no half row."""
        # Contiguous as they come back from the file: another layout would change the last bits.
        rounded = features.apply(lambda tensor: tensor.half().contiguous())
        with held(self._lock, wait=True):
            used = int(self.rows.max(initial=0))
            if self.rows[place] == 0 and self._has_room(used):
                for name, maps in self.maps.items():
                    maps[used] = rounded[name][0].cpu().numpy()
                self.rows[place] = used + 1
        return rounded.apply(lambda tensor: tensor.float())

    def _has_room(self, row: int) -> bool:
        """Whether there is a row, on a disk that is not full: the files are sparse."""
        if row >= len(next(iter(self.maps.values()))):
            return False
        try:
            for maps in self.maps.values():
                size = maps[row].nbytes
                assert maps.filename is not None
                reserve(Path(maps.filename), maps.offset + row * size, size)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            return False
        return True

    @torch.no_grad()
    def _compute(self, which: SliceView) -> Features:
        image, _ = self.sampler.slice(which)
        return extract(self.method, image.to(self.device), self.precision)

    def episodes(self, plans: Iterable[EpisodePlan]) -> Iterator[tuple[Episode, Features]]:
        """Episodes with the trunk features of their support and query."""
        for plan in plans:
            pair = [self.features(plan.support), self.features(plan.query)]
            yield self.sampler.render(plan).to(self.device), Features.join(pair)


def origin_of(dataset: PreparedDataset, method: Method, precision: Precision) -> dict[str, object]:
    """What features depend on besides the view: runs that agree in it may share them.

    Layouts dilate in other places with the same weights, so the weights alone do not tell.
    """
    trunk = method.trunk
    shape = trunk and {**asdict(trunk.options), "weights": None}
    return {
        "data": dataset.hash,
        "trunk": hash_of_state(trunk or nn.Module()),
        "shape": shape,
        "precision": precision,
    }


def _mapped(path: Path, shape: tuple[int, ...], dtype: type[Any]) -> np.memmap[Any, np.dtype[Any]]:
    """A memory-mapped array; a new file is sparse, so it costs only what is filled."""
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


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


class KeptScans:
    """Scans of a data set, encoded once by a method with a frozen trunk.

    Args:
        dataset: the prepared data set; the features lie in its folder.
        method: its trunk must be frozen.
        precision: of the trunk.
        device: where it computes.
        limit_gb: what does not fit is computed each time.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        method: Method,
        precision: Precision,
        device: torch.device,
        limit_gb: float,
    ) -> None:
        self.method, self.precision, self.device = method, precision, device
        key = hash_of(origin_of(dataset, method, precision))
        self.folder = dataset.folder / "features" / f"scans-{key[:16]}"
        self.limit = limit_gb * 1e9

    @torch.no_grad()
    def encode(self, case: PreparedCase) -> EncodedScan:
        """A scan's features, rounded to float16 as those of the bank."""
        images = torch.from_numpy(np.array(case.image, np.float32))[:, None].to(self.device)
        batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
        features = self._features(case.name, images, batches)
        projected = [
            self.method.project(
                features.rows(rows).apply(lambda maps: maps.float().to(self.device))
            )
            for rows in batches
        ]
        return EncodedScan(images, Features.join(projected), case.spacing)

    def _features(self, name: str, images: torch.Tensor, batches: list[slice]) -> Features:
        path = self.folder / f"{name}.npz"
        if path.exists():
            with np.load(path) as arrays:
                return Features({key: torch.from_numpy(maps) for key, maps in arrays.items()})
        whole = Features.join([extract(self.method, images[b], self.precision) for b in batches])
        # Contiguous as they come back from the file: another layout would change the last bits.
        kept = {key: maps.half().cpu().contiguous().numpy() for key, maps in whole.maps.items()}
        held = sum(file.stat().st_size for file in self.folder.glob("*.npz"))
        if held + sum(maps.nbytes for maps in kept.values()) <= self.limit:
            write_atomically(
                path, lambda temporary: np.savez(temporary, allow_pickle=False, **kept)
            )
        return Features({key: torch.from_numpy(maps) for key, maps in kept.items()})
