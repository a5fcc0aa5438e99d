"""Whole scans encoded by a frozen trunk, kept for other runs beside the data set.

OUT/features/scans-<key>/<case>.npz  float16 maps of a scan's slices as they are
"""

from __future__ import annotations

import numpy as np
import torch

from dpcenet.data.store import PreparedCase, PreparedDataset
from dpcenet.inference.batched import BATCH, extract
from dpcenet.methods.base import Method
from dpcenet.system.device import Precision
from dpcenet.system.files import hash_of, write_atomically
from dpcenet.training.feature_cache import origin_of
from dpcenet.types import Encoded, Features


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
    def encode(self, case: PreparedCase) -> Encoded:
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
        return Encoded(images, Features.join(projected), case.spacing)

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
