"""What a segmenter knows of the labelled scans, and what it finds in a query."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import Encoded
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing
from dpcenet.volumes.record import Record


@dataclass(frozen=True)
class Labelled:
    """A labelled scan, encoded once for any number of queries.

    Attributes:
        name: by which reports call it.
        slices: features of its slices, in the network's geometry.
        label: (Z, H, W) uint8 in that geometry.
        digest: sha256 of the prepared image and label: what the features were made from.
    """

    name: str
    slices: Encoded
    label: npt.NDArray[np.uint8]
    digest: str = ""

    @staticmethod
    def of(
        name: str, image: npt.NDArray[np.float32], slices: Encoded, label: npt.NDArray[np.uint8]
    ) -> Labelled:
        """From a prepared image (Z, H, W), its encoded slices and its label."""
        digest = hashlib.sha256(image.tobytes())
        digest.update(label.tobytes())
        return Labelled(name, slices, label, digest.hexdigest())


def joined(scans: Sequence[Labelled]) -> Labelled:
    """All slices of all scans, one scan after the other, as the tasks number them."""
    if len(scans) == 1:
        return scans[0]
    slices = Encoded.join([scan.slices for scan in scans])
    name = "+".join(scan.name for scan in scans)
    return Labelled(name, slices, np.concatenate([scan.label for scan in scans]))


@dataclass(frozen=True)
class Support:
    """One or several labelled scans, and how queries are made comparable with them.

    Attributes:
        scans: the labelled scans, all in one orientation.
        values: the labels to segment.
        affine: of the first scan's prepared geometry; queries are oriented like it.
        rules: by which it was prepared, with its pixel size; queries are prepared by them too.
        names: of label values, where they are known.
    """

    scans: tuple[Labelled, ...]
    values: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    rules: Preprocessing
    names: Mapping[int, str] = field(default_factory=dict)

    def only(self, values: Sequence[int]) -> Support:
        """The same scans with some of the labels.

        Raises:
            ConfigError: one of them is not there.
        """
        for value in values:
            if value not in self.values:
                raise ConfigError(f"--label {value}: only {list(self.values)} found")
        return replace(self, values=tuple(values))

    @property
    def labels(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """(Z, H, W) of each scan."""
        return tuple(scan.label for scan in self.scans)


@dataclass(frozen=True)
class Found:
    """What was found in one query, in the network's geometry and on the query's own grid.

    Attributes:
        query: its encoded slices.
        scans: the labelled scans as they served, in the query's pose.
        matches: for each scan of the support, the slice of it that each query slice matches.
        probability: label value → (Z, H, W) float32, in the network's geometry.
        record: the way back to the query's own grid.
        mask: uint8 label values on the query's own grid; 0 is background. Where labels overlap,
            the likelier one stands.
    """

    query: Encoded
    scans: tuple[Labelled, ...]
    matches: tuple[npt.NDArray[np.int64], ...]
    probability: dict[int, npt.NDArray[np.float32]]
    record: Record
    mask: Volume
