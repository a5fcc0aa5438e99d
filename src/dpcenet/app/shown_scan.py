"""A scan as the page shows it: oriented, in a plain NIfTI file that is mapped, never held.

The array is (Z, Y, X): axis 0 runs through the slices, which stand as a radiologist sees them. It
is made once for a scan; the labels that a person draws on it lie beside it in the same shape.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import (
    Orientation,
    SourceGrid,
    Volume,
    choose_modality,
    doctor_report,
    hash_of,
    orient,
    read_or_set_aside,
    write_json,
    write_nifti,
)
from dpcenet.app.project import Scan

FORMAT = 1
SOFT_TISSUE = (-160.0, 240.0)  # Hounsfield units
_SAMPLE = 200_000  # voxels that the automatic window looks at
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Facts:
    """What is known of a shown scan.

    Attributes:
        made_from: of the files it was made from; another value means that they changed.
        shape: (Z, Y, X) as shown.
        spacing: in mm, along those axes.
        affine: (4, 4) rows; takes a shown index (z, y, x, 1) to RAS+ mm.
        dtype: of the shown voxels, little-endian: int16 or float32.
        offset: bytes before the voxels in the file.
        permutation, flips: how the axes of the scan's file became the shown ones.
        window: lowest and highest value of the automatic window.
        range: lowest and highest value.
        modality: ct or mr, as `dpcenet segment` takes it.
        orientation: of the file's axes x, y, z, such as LPS.
        source: the file's own grid, as JSON.
        errors, notes: what `dpcenet doctor` says.
    """

    made_from: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: tuple[tuple[float, ...], ...]
    dtype: str
    offset: int
    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    window: tuple[float, float]
    range: tuple[float, float]
    modality: str
    orientation: str
    source: dict[str, Any]
    errors: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def orient(self) -> Orientation:
        """How the file's axes became the shown ones."""
        return Orientation(self.permutation, self.flips)

    @property
    def grid(self) -> SourceGrid:
        """The grid of the shown voxels."""
        return SourceGrid(self.shape, self.affine)

    @property
    def source_grid(self) -> SourceGrid:
        """The grid of the file."""
        return SourceGrid.from_json(self.source)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Facts:
        """The facts that were written as JSON."""
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "format"}
        data["affine"] = tuple(tuple(row) for row in data["affine"])
        return cls(**data)


def shown_facts(scan: Scan) -> Facts | None:
    """The facts of a scan that was made ready before and has not changed since."""
    path = scan.cache / "facts.json"
    data = read_or_set_aside(path) or {}
    if data.get("format") != FORMAT or data.get("made_from") != made_from(scan):
        return None
    try:
        return Facts.from_json(data)
    except (KeyError, TypeError, ValueError):
        return None  # it is made again


def make_ready(scan: Scan) -> Facts:
    """The facts of a scan; it is read and written in its shown form if that was not done before.

    Raises:
        VolumeError: the scan cannot be used.
    """
    known = shown_facts(scan)
    if known is not None:
        return known
    source = made_from(scan)
    read = scan.query.read()
    report = doctor_report(scan.name, scan.source, read)
    volume, orientation = orient(read.volume)
    data, modality = _plain(volume.data), choose_modality(read).modality
    shown = Volume(data, volume.affine)
    write_nifti(data, scan.cache / "image.nii", SourceGrid.of(shown))
    z, y, x = data.shape
    facts = Facts(
        made_from=source,
        shape=(z, y, x),
        spacing=shown.spacing,
        affine=tuple(tuple(map(float, row)) for row in shown.affine),
        dtype=str(data.dtype),
        offset=(scan.cache / "image.nii").stat().st_size - data.nbytes,
        permutation=orientation.permutation,
        flips=orientation.flips,
        window=SOFT_TISSUE if modality == "ct" else _window(data),
        range=(float(data.min()), float(data.max())),
        modality=modality,
        orientation=report.orientation,
        source=read.grid.to_json(),
        errors=report.errors,
        notes=report.notes,
    )
    write_json(scan.cache / "facts.json", {"format": FORMAT, **asdict(facts)})
    return facts


def image_of(scan: Scan, facts: Facts) -> npt.NDArray[Any]:
    """The shown voxels (Z, Y, X), mapped from the file."""
    return np.memmap(
        scan.cache / "image.nii", np.dtype(facts.dtype), "r", facts.offset, facts.shape
    )


def made_from(scan: Scan) -> str:
    """Names, sizes and times of the files of a scan, in one word."""
    stats = [(path.name, path.stat()) for path in scan.query.files]
    return hash_of([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _plain(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In int16 where that changes nothing, else in float32; what is no number is 0."""
    if data.dtype.kind in "biu" and _INT16.min <= data.min() and data.max() <= _INT16.max:
        return np.ascontiguousarray(data, np.int16)
    values = np.nan_to_num(data.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    rounded = np.abs(values).max() <= _INT16.max and bool((values == np.rint(values)).all())
    return np.ascontiguousarray(values, np.int16 if rounded else np.float32)


def _sample(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = max(1, data.size // _SAMPLE)
    return data.reshape(-1)[::step].astype(np.float32)


def _window(data: npt.NDArray[Any]) -> tuple[float, float]:
    """From the 1st to the 99.5th percentile of what is above the darkest value."""
    values = _sample(data)
    values = values[values > values.min()] if (values > values.min()).any() else values
    low, high = np.percentile(values, (1, 99.5))
    return float(low), max(float(high), float(low) + 1e-3)


def thumbnail_of(data: npt.NDArray[Any], facts: Facts, size: int = 160) -> npt.NDArray[np.uint8]:
    """The middle slice as grey bytes (size, size) with its true proportions."""
    from PIL import Image

    plane = np.asarray(data[facts.shape[0] // 2], np.float32)
    low, high = facts.window
    grey = (np.clip((plane - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    height, width = plane.shape[0] * facts.spacing[1], plane.shape[1] * facts.spacing[2]
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(grey).resize(shape, Image.Resampling.BILINEAR)
    square = Image.new("L", (size, size))
    square.paste(small, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return np.asarray(square)
