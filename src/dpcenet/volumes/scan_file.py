"""What is read from a scan's file: voxels, grid, what it says of them, and what a person chose.

The grid is kept so that a mask can be written exactly where the scan lies. A JSON file beside a
NIfTI scan, as dcm2niix and BIDS write them, may say of which kind it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError, VolumeError, one_line
from dpcenet.system.files import read_json
from dpcenet.types import Volume


@dataclass(frozen=True)
class Code:
    """A term of a coding scheme, such as SCT 10200004 "Liver"."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Labels:
    """What the values of a mask mean.

    Names come from files: they are one line that can be printed, and an empty one is none.

    Attributes:
        names: label value → name.
        codes: label value → what the label shows, by a coding scheme.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    codes: Mapping[int, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {v: " ".join(one_line(name).split()) for v, name in self.names.items()}
        names = {value: name[:MOST_LETTERS] for value, name in plain.items() if name}
        object.__setattr__(self, "names", names)


MOST_LETTERS = 200
"""Of a label's name; a longer one is cut."""
NO_LABELS = Labels()


@dataclass(frozen=True)
class Facts:
    """What was read beside the voxels and their place. Nothing of it names the patient.

    Attributes:
        modality: DICOM's word for the kind of scan ("CT", "MR", "PT"); "" where the file is silent.
        padding: lowest and highest value that the file declares to be no measurement, in the
            volume's unit; None where it declares none.
        labels: of a mask, what its values mean.
        notes: what reading did beyond reading, a line each, such as "resampled to 2.5 mm".
    """

    modality: str = ""
    padding: tuple[float, float] | None = None
    labels: Labels = NO_LABELS
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Facts:
        """The same with further notes."""
        return replace(self, notes=(*self.notes, *notes))


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


@dataclass(frozen=True)
class ReadOptions:
    """What a person chose.

    Attributes:
        part: which of several volumes in one file or series (echo, phase, time point, b-value): a
            number from 1, or what it is called; None where there is one.
        series: which of several DICOM series in one folder: a number from 1, or its name; None
            where there is one.
        spacing: mm from slice to slice, row to row and column to column, of pictures, which do not
            say it.
        resample: bring slices that are sheared (a tilted gantry) or unevenly spaced to a regular
            grid, which is noted; without it they are refused.
    """

    part: int | str | None = None
    series: int | str | None = None
    spacing: tuple[float, float, float] | None = None
    resample: bool = False


AS_IT_IS = ReadOptions()
"""No choice was made: what leaves one is refused, with what there is to choose from."""


SPLIT = (
    "Choose one with --echo, or segment each of them with --split-time (in Python: "
    "ReadOptions(part=NUMBER))."
)
"""What to do with a file of several volumes."""
ECHO = "Choose one with --echo, or segment each of them with --split-time."
"""What to do with a DICOM series of several volumes."""


def parse_options(
    part: str | None, series: str | None, spacing: str | None, resample: bool
) -> ReadOptions:
    """The choices as words of the command line.

    Args:
        part, series: a number, or a name.
        spacing: "Z,Y,X" in mm.
        resample: as it is.

    Raises:
        ConfigError: the spacing is not three numbers above 0.
    """
    if spacing is None:
        return ReadOptions(part, series, None, resample)
    try:
        z, y, x = (float(word) for word in spacing.split(","))
    except ValueError as error:
        raise ConfigError(f"--spacing {spacing}: write Z,Y,X in mm, such as 5,0.7,0.7") from error
    if not all(0 < mm < float("inf") for mm in (z, y, x)):
        raise ConfigError(f"--spacing {spacing}: write three lengths above 0 in mm")
    return ReadOptions(part, series, (z, y, x), resample)


def choose(wanted: int | str | None, names: list[str], path: Path, remedy: str) -> int:
    """Which of several things in one place a person means.

    Args:
        wanted: a number from 1, or a part of one name; None where there is one.
        names: of the things, in their order.
        path: where they are.
        remedy: how to choose.

    Returns:
        an index of `names`.

    Raises:
        VolumeError: there are several and none was chosen, or the choice fits none or several.
    """
    if len(names) == 1:
        return 0  # a choice is for the scans that leave one
    shown = "; ".join(f"{number} {name}" for number, name in enumerate(names[:20], start=1))
    more = f"; and {len(names) - 20} more" if len(names) > 20 else ""
    if wanted is None:
        raise VolumeError(path, f"{len(names)} volumes: {shown}{more}", "one volume", remedy)
    text = str(wanted).strip()
    if text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    fitting = [at for at, name in enumerate(names) if name == text]
    fitting = fitting or [at for at, name in enumerate(names) if text.lower() in name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{text!r} fits {len(fitting)} of {len(names)} volumes: {shown}{more}"
    raise VolumeError(path, found, "one of them", "Choose by a number or a name of the list.")


_MOST_BYTES = 1 << 20


def sidecar_of(path: Path) -> Path:
    """NAME.json, where a program may have described NAME.nii.gz; it need not be there."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".nii")
    return path.with_name(f"{path.name[: len(name)]}.json")


def sidecar_modality(path: Path) -> str:
    """DICOM's Modality ("CT", "MR", …) by NAME.json beside NAME.nii.gz.

    Returns:
        "" where there is no such file, or it cannot be read: it is a hint, not the scan.
    """
    sidecar = sidecar_of(path)
    try:
        if not sidecar.is_file() or sidecar.stat().st_size > _MOST_BYTES:
            return ""
        modality = read_json(sidecar, finite=False).get("Modality")
    except (OSError, ValueError, ConfigError):
        return ""
    return modality if isinstance(modality, str) and modality.isalpha() else ""
