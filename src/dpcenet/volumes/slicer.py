"""The segments of 3D Slicer's segmentation files (.seg.nrrd): names, codes, layers.

Source: 3D Slicer's "Segmentation file" format: keys SegmentN_ID, _Name, _LabelValue, _Layer, _Tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.volumes.scan_file import Code

_KEY = re.compile(r"Segment(\d{1,6})_ID")
_TYPE = re.compile(r"TerminologyEntry:[^~|]*~[^~|]*~([^~^|]*)\^([^~^|]*)\^([^~^|]*)~")
_CATEGORY = "SCT^123037004^Anatomical Structure"
_MOST_VALUE = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        name: what a person called it.
        value: of its label in the map that `join_layers` makes.
        stored: its value in its layer.
        layer: on the last axis of the file's voxels.
        code: what it shows; None where the file does not say.
    """

    name: str
    value: int
    stored: int
    layer: int
    code: Code | None


def segments_of(keys: Mapping[str, str]) -> list[Segment]:
    """The segments that a header describes, in their order; none where it describes none.

    Values of segments in one layer are kept; those of several layers may be the same, so that
    segments are numbered from 1.
    """
    numbers = sorted({int(match[1]) for key in keys if (match := _KEY.fullmatch(key))})
    stored = [_number(keys.get(f"Segment{n}_LabelValue"), at + 1) for at, n in enumerate(numbers)]
    layers = [_number(keys.get(f"Segment{n}_Layer"), 0) for n in numbers]
    unique = len(set(stored)) == len(stored) and all(0 < value <= _MOST_VALUE for value in stored)
    return [
        Segment(
            keys.get(f"Segment{n}_Name") or f"segment {at + 1}",
            stored[at] if unique else at + 1,
            stored[at],
            layers[at],
            _code(keys.get(f"Segment{n}_Tags", "")),
        )
        for at, n in enumerate(numbers)
    ]


def join_layers(data: npt.NDArray[Any], segments: list[Segment], path: Path) -> npt.NDArray[Any]:
    """One label map of the layers of a segmentation.

    Args:
        data: (Z, Y, X, L).
        segments: of the file.
        path: for the error.

    Returns:
        (Z, Y, X), 0 where no segment is.

    Raises:
        VolumeError: two segments overlap, so that one map cannot hold both.
    """
    if data.shape[3] == 1 and all(each.value == each.stored for each in segments):
        return np.ascontiguousarray(data[..., 0])
    out = np.zeros(data.shape[:3], np.uint16)
    for segment in segments:
        if not 0 <= segment.layer < data.shape[3]:
            found = f"segment {segment.name!r} is in layer {segment.layer} of {data.shape[3]}"
            raise VolumeError(path, found, "a layer for each", "Save the segmentation again.")
        inside = data[..., segment.layer] == segment.stored
        if shared := int(np.count_nonzero(out[inside])):
            other = next(each for each in segments if each.value == out[inside].max())
            raise VolumeError(
                path,
                f"the segments {other.name!r} and {segment.name!r} overlap in {shared:,} voxels",
                "segments that do not overlap",
                "Save them in separate files, or let Slicer export them as one label map.",
            )
        out[inside] = segment.value
    return out


def keys_for(
    names: Mapping[int, str], codes: Mapping[int, Code], shape: tuple[int, int, int]
) -> dict[str, str]:
    """The header's keys for labels of one layer on a grid (Z, Y, X)."""
    extent = " ".join(f"0 {n - 1}" for n in reversed(shape))
    keys = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for at, (value, name) in enumerate(names.items()):
        fields = {
            "ID": f"Segment_{value}",
            "Name": " ".join(name.split()),
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": extent,
        }
        if code := codes.get(value):
            kind = f"{code.scheme}^{code.value}^{code.meaning}"
            fields["Tags"] = f"TerminologyEntry:dpcenet~{_CATEGORY}~{kind}~^^~dpcenet~^^~^^|"
        keys |= {f"Segment{at}_{key}": value for key, value in fields.items()}
    return keys


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else default


def _code(tags: str) -> Code | None:
    match = _TYPE.search(tags)
    return Code(*match.groups()) if match and all(match.groups()) else None
