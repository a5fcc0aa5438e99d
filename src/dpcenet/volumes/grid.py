"""The grid of a file on disk, kept so that a mask can be written exactly where the scan lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.types import Volume
from dpcenet.volumes.facts import Facts

Format = Literal["nifti", "itk", "none"]


@dataclass(frozen=True)
class SourceGrid:
    """Shape and place of a file's voxels, with the words in which its header said so.

    Attributes:
        shape: (Z, Y, X).
        affine: (4, 4) rows; takes the array index (z, y, x, 1) to RAS+ mm.
        format: whose header fields `header` holds.
        header: fields that a file of the same format gets back unchanged. No patient data.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    format: Format = "none"
    header: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, volume: Volume, form: Format = "none", header: Mapping[str, Any] | None = None
    ) -> SourceGrid:
        """The grid of a volume that has just been read."""
        z, y, x = volume.data.shape
        rows = tuple(tuple(float(v) for v in row) for row in volume.affine)
        return cls((z, y, x), rows, form, header or {})

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine as a (4, 4) array."""
        return np.array(self.affine, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "shape": list(self.shape),
            "affine": [list(row) for row in self.affine],
            "format": self.format,
            "header": dict(self.header),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SourceGrid:
        """The grid that `to_json` described."""
        z, y, x = data["shape"]
        rows = tuple(tuple(float(v) for v in row) for row in data["affine"])
        return cls((z, y, x), rows, data["format"], data["header"])


@dataclass(frozen=True)
class ScanFile:
    """What was read from a file: the volume and the grid to write a mask back with.

    Attributes:
        volume: (Z, Y, X).
        grid: of the file.
        files: of a DICOM series, the file of each slice, which a DICOM SEG refers to.
        facts: what the file says beside voxels and place.
    """

    volume: Volume
    grid: SourceGrid
    files: tuple[Path, ...] = ()
    facts: Facts = field(default_factory=Facts)
