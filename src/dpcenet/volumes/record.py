"""The rules of preprocessing, and the record of how they met one scan, which undoes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import planes, room_for
from dpcenet.types import Volume
from dpcenet.volumes import resample
from dpcenet.volumes.boxes_and_values import box_above
from dpcenet.volumes.geometry import Affine, Orientation
from dpcenet.volumes.scan_file import SourceGrid


@dataclass(frozen=True)
class Preprocessing:
    """The rules, one for each step.

    Attributes:
        modality: "mr" or "ct".
        size: rows and columns of a prepared slice.
        spacing_mm: of a prepared slice; None fits the longer side of the field of view to `size`.
        slice_spacing_mm: from slice to slice; None keeps the scan's own.
        overflow: what happens to a field of view beyond `size` at `spacing_mm`. "fit" takes a
            coarser spacing for this scan, so that nothing is lost; "crop" cuts, as the lineage.
        clip_percentile: intensities above this percentile of the scan become it; None keeps them.
        clip_low: intensities below become it; None keeps them.
        clip_high: intensities above become it; None keeps them.
        mean: subtracted; None takes the mean of the prepared volume, padding included.
        std: divided by; None takes that of the prepared volume. Both are given, or neither: a
            fold's statistics.
    """

    modality: Literal["mr", "ct"] = "mr"
    size: int = 256
    spacing_mm: float | None = None
    slice_spacing_mm: float | None = None
    overflow: Literal["fit", "crop"] = "fit"
    clip_percentile: float | None = 99.5
    clip_low: float | None = None
    clip_high: float | None = None
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        lengths = (self.size, self.spacing_mm, self.slice_spacing_mm, self.std)
        if any(value is not None and not value > 0 for value in lengths):
            raise ValueError(f"sizes, spacings and std must be above 0: {self}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together or not at all")

    @classmethod
    def for_mr(cls, **changes: Any) -> Self:
        """Clip above the 99.5th percentile, normalise by the volume's mean and deviation."""
        return cls(**{"modality": "mr", **changes})

    @classmethod
    def for_ct(cls, **changes: Any) -> Self:
        """Clip to a soft-tissue window of -125…275 HU; `mean` and `std` may be a fold's."""
        rules = {"clip_percentile": None, "clip_low": -125.0, "clip_high": 275.0}
        return cls(**{"modality": "ct", **rules, **changes})


@dataclass(frozen=True)
class Record:
    """What was done to one scan; undoes it.

    Oriented index = (prepared index + offset) · step, for each axis.

    Attributes:
        rules: the rules followed.
        grid: of the scan's file.
        orientation: how array axes were reordered.
        step: oriented voxels from one prepared voxel to the next, along z, y, x.
        resampled: shape between resampling and cropping.
        offset: first voxel of the crop, negative where it was padded.
        shape: of the prepared image.
        clip: lowest and highest intensity that was kept; None where there was no bound.
        mean, std: of the normalisation.
    """

    rules: Preprocessing
    grid: SourceGrid
    orientation: Orientation
    step: tuple[float, float, float]
    resampled: tuple[int, int, int]
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]
    clip: tuple[float | None, float | None] = (None, None)
    mean: float = 0.0
    std: float = 1.0

    @property
    def affine(self) -> Affine:
        """(4, 4) affine of the prepared image: index (z, y, x, 1) to RAS+ mm."""
        blank = np.broadcast_to(np.uint8(0), self.grid.shape)
        oriented = self.orientation.apply(Volume(blank, self.grid.matrix))
        to_oriented = np.diag([*self.step, 1.0])
        to_oriented[:3, 3] = np.multiply(self.step, self.offset)
        return oriented.affine @ to_oriented

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing of the prepared image along z, y and x in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return z, y, x

    def restore_probability(self, probability: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Bring values of the prepared image to the scan's grid, trilinear.

        Args:
            probability: (Z, H, W), shaped like the prepared image.

        Returns:
            float32 in the shape and order of the scan's file; 0 outside the prepared field.
        """
        self._expect(probability)
        out: npt.NDArray[np.float32] = room_for(self.grid.shape, np.float32)
        turned = self.orientation.turn(out)
        at = self.source_positions()
        resample.linear(probability, at, reach=resample.ON_BORDER, out=turned)
        return out

    def restore_labels(
        self, probability: Mapping[int, npt.NDArray[np.floating]]
    ) -> npt.NDArray[np.uint8]:
        """The likeliest label of every voxel of the scan's grid; 0 where none exceeds one half.

        Slice by slice: the probabilities of a whole CT on its own grid are too much memory.

        Args:
            probability: label value → (Z, H, W), shaped like the prepared image.

        Returns:
            uint8 in the shape and order of the scan's file.
        """
        at = self.source_positions()
        labels: npt.NDArray[np.uint8] = room_for(self.grid.shape, np.uint8)
        for array in probability.values():
            self._expect(array)
        boxes = {value: box_above(each, 0.5) for value, each in probability.items()}
        near = {v: resample.near_box(at, box) for v, box in boxes.items() if box is not None}
        for z, plane in enumerate(planes(self.orientation.turn(labels))):
            best = np.full(plane.shape, 0.5, dtype=np.float32)
            for value, (slices, rows, columns) in near.items():
                if slices.start <= z < slices.stop:
                    place = [at[0][z : z + 1], at[1][rows], at[2][columns]]
                    values = resample.linear(probability[value], place, reach=resample.ON_BORDER)[0]
                    better = values > best[rows, columns]
                    plane[rows, columns][better] = value
                    best[rows, columns][better] = values[better]
        return labels

    def denormalise(self, image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Clipped intensities, in the scan's unit, of a prepared image."""
        return np.asarray(image * self.std + self.mean, dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "grid": self.grid.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The record that `to_json` described."""
        how = data["orientation"]
        triples = {key: tuple(data[key]) for key in ("step", "resampled", "offset", "shape")}
        return cls(
            rules=Preprocessing(**data["rules"]),
            grid=SourceGrid.from_json(data["grid"]),
            orientation=Orientation(tuple(how["permutation"]), tuple(how["flips"])),
            clip=tuple(data["clip"]),
            mean=data["mean"],
            std=data["std"],
            **triples,
        )

    def _expect(self, array: npt.NDArray[Any]) -> None:
        if array.shape != self.shape:
            raise ValueError(f"array of {array.shape} for a prepared image of {self.shape}")

    def resampled_positions(self) -> resample.Positions:
        """Where the resampled voxels lie, in oriented voxels."""
        return [
            np.arange(n, dtype=np.float64) * step
            for n, step in zip(self.resampled, self.step, strict=True)
        ]

    def source_positions(self) -> resample.Positions:
        """Where the scan's oriented voxels lie, in prepared voxels."""
        lengths = (self.grid.shape[axis] for axis in self.orientation.permutation)
        axes = zip(lengths, self.step, self.offset, strict=True)
        return [np.arange(n, dtype=np.float64) / step - offset for n, step, offset in axes]
