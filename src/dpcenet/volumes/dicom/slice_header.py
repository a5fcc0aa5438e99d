"""What the header of a DICOM slice says, converted once and checked.

A slice is a file, or a frame of an enhanced file. DICOM's millimetres are LPS+.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from dpcenet.system.words import counted
from dpcenet.volumes.dicom.headers import bad, parsing, sop_class

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

T = TypeVar("T")
Vector = npt.NDArray[np.float64]
ANGLE = 1e-3
"""Cosines of the same direction may differ this much from file to file; headers round."""
_PLACE = {  # attribute → the functional group that holds it in an enhanced file, and its numbers
    "ImagePositionPatient": ("PlanePositionSequence", 3),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
    "PixelSpacing": ("PixelMeasuresSequence", 2),
}
_VALUES = "PixelValueTransformationSequence"
_MARKS: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    # what tells volumes in one series apart → its attributes and their groups, and the unit
    "echo": ((("EffectiveEchoTime", "MREchoSequence"), ("EchoTime", "")), "ms"),
    "echo number": ((("EchoNumbers", ""),), ""),
    "b-value": ((("DiffusionBValue", "MRDiffusionSequence"),), "s/mm²"),
    "time point": (
        (("TemporalPositionIndex", "FrameContentSequence"), ("TemporalPositionIdentifier", "")),
        "",
    ),
    "phase": (
        (
            ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
            ("TriggerTime", ""),
        ),
        "ms",
    ),
    "image type": ((("FrameType", "MRImageFrameTypeSequence"), ("ImageType", "")), ""),
    "acquisition": ((("AcquisitionNumber", ""),), ""),
    "acquisition time": ((("AcquisitionTime", ""),), ""),
}
_ORIGIN = {"PatientID": "patient", "StudyInstanceUID": "study"}
"""What is one in a series; exports that number anew give several series one UID."""
_GREY = ("MONOCHROME2", "MONOCHROME1")
_MODALITIES = {"2": "CT", "4": "MR", "128": "PT", "130": "PT"}
_ROOT = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True)
class Stored:
    """How a file stores its pixels.

    Attributes:
        bits: allocated for each.
        used: bits of them that hold the value.
        top: the highest of these, from 0; `used` - 1 by the standard.
        signed: whether values may be below 0.
        photometric: whether larger is brighter ("MONOCHROME2") or darker ("MONOCHROME1").
        syntax: name of the transfer syntax; "" where the file has none.
        compressed: whether pixels are.
        packed: whether the file takes less room than its pixels.
        padding: lowest and highest stored value that is no measurement; None where none is named.
        frames: how many are in the file.
    """

    bits: int
    used: int
    top: int
    signed: bool
    photometric: str
    syntax: str
    compressed: bool
    packed: bool
    padding: tuple[int, int] | None
    frames: int = 1


@dataclass(frozen=True)
class Slice:
    """One slice by its header.

    Attributes:
        path: its file.
        frame: which frame of the file, from 0.
        uid: SOPInstanceUID of the file.
        shape: rows and columns.
        spacing: mm between rows and between columns.
        row, column: unit vectors (LPS) along a row and along a column.
        position: of the first pixel's centre, LPS mm.
        rescale: slope and intercept; None where the header names neither.
        stored: how the file stores its pixels.
        modality: DICOM's word; "" where the header has none.
        thickness: mm of the slice, or from slice to slice; 0 where the header does not say.
        marks: what may tell volumes in one series apart, such as ("echo", "2.3 ms").
        unit: of the values, by RescaleType; "" where the header does not say.
        origin: what is one in a series → its value, such as "study" → a UID, where it has one.
    """

    path: Path
    frame: int
    uid: str
    shape: tuple[int, int]
    spacing: Vector
    row: Vector
    column: Vector
    position: Vector
    rescale: tuple[float, float] | None
    stored: Stored
    modality: str = ""
    thickness: float = 0.0
    marks: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


def slices_of(header: FileDataset, path: Path) -> list[Slice]:
    """The slice of a file, or the frames of an enhanced one.

    Raises:
        VolumeError: the header does not say, or says nonsense about, where the pixels lie.
    """
    with parsing(path, "an image with its place in the patient"):
        return _slices_of(header, path)


def _slices_of(header: FileDataset, path: Path) -> list[Slice]:
    needed = ("SeriesInstanceUID", "SOPInstanceUID", "Rows", "Columns")
    missing = [name for name in needed if name not in header]
    if missing:
        raise bad(path, f"no {', '.join(missing)}", "an image with its place in the patient")
    grey = str(header.get("PhotometricInterpretation", None) or _GREY[0])
    if int(header.get("SamplesPerPixel", 1)) != 1 or grey not in _GREY:
        raise bad(path, f"the pixels are coloured ({grey})", "one grey value in each pixel")
    if "MOSAIC" in _hint(partial(_text, header, [], "ImageType", ""), "").upper().split():
        remedy = "Convert it with dcm2niix to .nii.gz."
        raise bad(path, "a mosaic: all slices in one picture", "a picture for each", remedy)
    if header.get("ModalityLUTSequence", None):
        found = "what its pixels mean stands in a table (Modality LUT)"
        raise bad(path, found, "a slope and an intercept")
    frames = list(header.get("PerFrameFunctionalGroupsSequence", None) or ())
    count = int(header.get("NumberOfFrames", None) or 1)
    if frames and len(frames) != count:
        described = f"{counted(count, 'frame')}, {len(frames)} of them described"
        raise bad(path, described, "a place for each")
    if not frames and count > 1:
        raise bad(path, f"several frames ({count}) without a place each", "a place for each")
    shared = list(header.get("SharedFunctionalGroupsSequence", None) or ())
    stored = _stored(header)
    if not frames:
        return [_slice(header, path, 0, [], stored)]
    return [
        _slice(header, path, index, [frame, *shared], stored) for index, frame in enumerate(frames)
    ]


def _slice(
    header: FileDataset, path: Path, frame: int, groups: list[Dataset], stored: Stored
) -> Slice:
    try:
        place = {name: _numbers(header, groups, name) for name in _PLACE}
        rescale = _rescale(header, groups)
    except (ValueError, TypeError, OverflowError) as error:
        raise bad(path, f"the header cannot be read ({error})", "numbers") from error
    if missing := [name for name, numbers in place.items() if numbers is None]:
        raise bad(path, f"no {', '.join(missing)}", "an image with its place in the patient")
    for name, numbers in place.items():
        if numbers is None or len(numbers) != _PLACE[name][1] or not np.isfinite(numbers).all():
            raise bad(path, f"{name} is {numbers}", f"{_PLACE[name][1]} finite numbers")
    if rescale is not None and not (np.isfinite(rescale).all() and rescale[0] != 0):
        raise bad(path, f"slope and intercept are {rescale}", "finite ones, the slope not 0")
    position, cosines, spacing = (np.asarray(numbers, np.float64) for numbers in place.values())
    if spacing.min() <= 0:
        raise bad(path, f"PixelSpacing is {spacing.tolist()}", "millimetres above 0")
    row, column = cosines[:3], cosines[3:]
    if max(abs(np.linalg.norm(axis) - 1) for axis in (row, column)) > ANGLE:
        raise bad(path, f"ImageOrientationPatient is {cosines.tolist()}", "two unit vectors")
    shape = int(header.Rows), int(header.Columns)
    uid = str(header.SOPInstanceUID)
    if min(shape) < 1:
        raise bad(path, f"{shape[0]} rows and {shape[1]} columns", "one or more of each")
    kind = sop_class(header).removeprefix(_ROOT).split(".")[0]
    said = _hint(lambda: str(header.get("Modality", None) or "").strip().upper(), "")
    return Slice(
        *(path, frame, uid, shape, spacing, row, column, position, rescale, stored),
        modality=said or _MODALITIES.get(kind, ""),
        thickness=_hint(lambda: _thickness(header, groups), 0.0),
        marks=_marks(header, groups),
        unit=_hint(lambda: str(_value(header, groups, _VALUES, "RescaleType") or ""), ""),
        origin=_origin(header),
    )


def _stored(header: FileDataset) -> Stored:
    syntax: Any = getattr(header, "file_meta", {}).get("TransferSyntaxUID", None)
    known = syntax is not None and syntax.is_transfer_syntax
    bits = int(header.get("BitsAllocated", None) or 16)
    used = int(header.get("BitsStored", None) or bits)
    signed = int(header.get("PixelRepresentation", None) or 0) == 1
    compressed = bool(known and syntax.is_compressed)
    return Stored(
        bits,
        used,
        _hint(lambda: int(header.get("HighBit", used - 1)), used - 1),
        signed,
        str(header.get("PhotometricInterpretation", "")),
        str(syntax.name) if syntax is not None else "",
        compressed,
        bool(compressed or (known and syntax.is_deflated)),
        _hint(lambda: _padding(header, bits, signed), None),
        int(header.get("NumberOfFrames", None) or 1),
    )


def _padding(header: FileDataset, bits: int, signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue and its range; scanners write signed ones as if they were unsigned."""
    ends = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = header.get(name, None)
        if isinstance(value, int):
            wraps = signed and value >= 1 << (bits - 1)
            ends.append(value - (1 << bits) if wraps else value)
    return (min(ends), max(ends)) if ends else None


def _thickness(header: FileDataset, groups: list[Dataset]) -> float:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = _value(header, groups, "PixelMeasuresSequence", name)
        if value is not None and value != "" and np.isfinite(float(value)) and float(value) > 0:
            return float(value)
    return 0.0


def _marks(header: FileDataset, groups: list[Dataset]) -> tuple[tuple[str, str], ...]:
    found = []
    for mark, (places, unit) in _MARKS.items():
        texts = (_hint(partial(_text, header, groups, *place), "") for place in places)
        if text := next(filter(None, texts), ""):
            found.append((mark, f"{text} {unit}".strip()))
    return tuple(found)


def _origin(header: FileDataset) -> dict[str, str]:
    said = {
        what: _hint(partial(_text, header, [], name, ""), "").strip()
        for name, what in _ORIGIN.items()
    }
    return {what: value for what, value in said.items() if value}


def _text(header: FileDataset, groups: list[Dataset], name: str, group: str) -> str:
    value = _value(header, groups, group, name)
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return " ".join(map(str, value)) if several else str("" if value is None else value)


def _hint(read: Callable[[], T], default: T) -> T:
    """What an attribute says that reading can do without; one that is damaged says nothing."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception:  # whatever pydicom's conversion meets; see `headers.parsing`
        return default


def _numbers(header: FileDataset, groups: list[Dataset], name: str) -> Vector | None:
    value = _value(header, groups, _PLACE[name][0], name)
    return None if value is None else np.atleast_1d(np.array(value, dtype=np.float64))


def _rescale(header: FileDataset, groups: list[Dataset]) -> tuple[float, float] | None:
    slope = _value(header, groups, _VALUES, "RescaleSlope")
    intercept = _value(header, groups, _VALUES, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    return float(1 if slope is None else slope), float(0 if intercept is None else intercept)


def _value(header: FileDataset, groups: list[Dataset], group: str, name: str) -> Any:
    """An attribute of the frame, of all frames, or of the file; None where it is nowhere."""
    for part in groups if group else ():
        items = part.get(group, None)
        if items and items[0].get(name, None) is not None:
            return items[0].get(name)
    return header.get(name, None)
