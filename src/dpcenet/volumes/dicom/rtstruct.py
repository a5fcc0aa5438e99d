"""Outlines of a DICOM structure set (RTSTRUCT) filled on the grid of its scan.

A voxel belongs to a structure if its centre lies inside the outline. Outlines of one structure on
one slice are joined by exclusive or, so that an outline within another one is a hole, as the
standard's CLOSED_PLANAR and CLOSED_PLANAR_XOR are drawn by planning systems.
"""

# scikit-image has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.headers import bad, parsing, read_header
from dpcenet.volumes.geometry import LPS_TO_RAS
from dpcenet.volumes.scan_file import Facts, Labels, ScanFile, SourceGrid

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

Points = npt.NDArray[np.float64]
_FILLED = ("CLOSED_PLANAR", "CLOSED_PLANAR_XOR", "CLOSEDPLANAR_XOR", "")
_OUTSIDE = "EXTERNAL"
"""The patient's skin: every other structure lies in it, and it is no organ."""
_FLAT = 0.1
"""An outline leaves its slice by this part of the slices' distance at most."""
_BETWEEN = 0.3
"""And lies this close to it."""
_SHARED = 0.02
"""Neighbours may share this part of the smaller one: their outlines run along one line."""
_MOST_VALUE = 255


@dataclass(frozen=True)
class _Structure:
    """One structure: number, name, and outlines (N, 3) in LPS mm."""

    number: int
    name: str
    outlines: tuple[Points, ...]


def read_rtstruct(path: Path, image: ScanFile) -> ScanFile:
    """Fill the outlines of a structure set.

    Args:
        path: the file.
        image: the scan that they were drawn on.

    Returns:
        (Z, Y, X) uint16 labels on the scan's grid, by the structures' numbers where these are
        1…255, else counted from 1; and their names. The patient's outline is left aside, which is
        noted.

    Raises:
        VolumeError: the file cannot be used, or does not belong to the scan.
    """
    header = read_header(path)
    with parsing(path, "a structure set"):
        structures, notes = _structures(header)
    if not structures:
        raise bad(path, "no closed outline in it", "a structure set with filled structures")
    numbers = [each.number for each in structures]
    kept = len(set(numbers)) == len(numbers) and all(0 < n <= _MOST_VALUE for n in numbers)
    values = numbers if kept else list(range(1, len(numbers) + 1))
    masks = [_filled(each, image.volume, path) for each in structures]
    data = _joined(masks, structures, values, path)
    names = {value: each.name for value, each in zip(values, structures, strict=True)}
    volume = Volume(data, image.volume.affine)
    return ScanFile(volume, SourceGrid.of(volume), facts=Facts(labels=Labels(names), notes=notes))


def _structures(header: FileDataset) -> tuple[list[_Structure], tuple[str, ...]]:
    names = {
        int(item.ROINumber): str(item.get("ROIName", "") or f"structure {item.ROINumber}")
        for item in header.get("StructureSetROISequence", None) or ()
    }
    outside = {
        int(item.ReferencedROINumber)
        for item in header.get("RTROIObservationsSequence", None) or ()
        if str(item.get("RTROIInterpretedType", "") or "").upper() == _OUTSIDE
    }
    found = []
    for item in header.get("ROIContourSequence", None) or ():
        number = int(item.ReferencedROINumber)
        outlines = tuple(_outlines(item.get("ContourSequence", None) or ()))
        if outlines and number not in outside:
            found.append(_Structure(number, names.get(number, f"structure {number}"), outlines))
    left = ", ".join(names.get(number, str(number)) for number in sorted(outside))
    notes = (f"the patient's outline ({left}) is left aside",) if outside else ()
    return found, notes


def _outlines(contours: Iterable[Dataset]) -> Iterable[Points]:
    for contour in contours:
        if str(contour.get("ContourGeometricType", "") or "").upper() not in _FILLED:
            continue  # points and open lines enclose nothing
        points = np.array(contour.get("ContourData", None) or (), dtype=np.float64)
        if points.size % 3 or not np.isfinite(points).all():
            raise ValueError(f"an outline of {points.size} numbers, or of infinite ones")
        if points.size >= 9:
            yield points.reshape(-1, 3)


def _filled(structure: _Structure, image: Volume, path: Path) -> npt.NDArray[np.bool_]:
    """(Z, Y, X) where the structure is."""
    to_index = np.linalg.inv(image.affine) @ LPS_TO_RAS
    placed = [points @ to_index[:3, :3].T + to_index[:3, 3] for points in structure.outlines]
    axis = int(np.argmin(np.max([np.ptp(points, axis=0) for points in placed], axis=0)))
    mask = np.zeros(image.data.shape, dtype=bool)
    by_slice = np.moveaxis(mask, axis, 0)
    outlines: defaultdict[int, list[Points]] = defaultdict(list)
    for points in placed:
        outlines[_slice_of(points[:, axis], len(by_slice), structure.name, path)].append(
            np.delete(points, axis, axis=1)
        )
    for index, polygons in outlines.items():
        for polygon in polygons:
            _fill(by_slice[index], polygon)
    if not mask.any():
        raise bad(path, *_elsewhere(structure.name, np.concatenate(placed), image))
    return mask


def _elsewhere(name: str, points: Points, image: Volume) -> tuple[str, str, str]:
    """What is found, expected and to be done where no voxel lies in a structure."""
    below, above = -points.max(axis=0), points.min(axis=0) - (np.array(image.data.shape) - 1)
    away = float(np.max(np.maximum(below, above) * image.spacing))
    place = f"{away:.0f} mm outside it" if away > 0 else "between the centres of its voxels"
    return (
        f"the outlines of {name!r} hold no voxel of the scan: they lie {place}",
        "structures inside it",
        "Check that they belong together. Where the exporting program has turned an axis over, "
        "export the mask as NIfTI or DICOM SEG.",
    )


def _slice_of(along: Points, slices: int, name: str, path: Path) -> int:
    """The slice that an outline lies in."""
    middle = float(along.mean())
    index = round(middle)
    if float(np.ptp(along)) > _FLAT or abs(middle - index) > _BETWEEN:
        found = f"an outline of {name!r} lies between the slices of the scan"
        raise bad(path, found, "outlines in its slices", "Check that they belong together.")
    if not 0 <= index < slices:
        found = f"an outline of {name!r} lies beyond the scan"
        raise bad(path, found, "structures inside it", "Check that they belong together.")
    return index


def _fill(plane: npt.NDArray[np.bool_], polygon: Points) -> None:
    """Turn the pixels inside a polygon over, in place; only its bounding box is looked at."""
    low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 1, plane.shape)
    if (high <= low).any():
        return
    inside = polygon2mask(tuple(high - low), polygon - low)
    plane[low[0] : high[0], low[1] : high[1]] ^= inside


def _joined(
    masks: list[npt.NDArray[np.bool_]], structures: list[_Structure], values: list[int], path: Path
) -> npt.NDArray[np.uint16]:
    """One label map; where outlines share a border the smaller structure gets it."""
    sizes = [int(mask.sum()) for mask in masks]
    out = np.zeros(masks[0].shape, np.uint16)
    for at in sorted(range(len(masks)), key=lambda at: -sizes[at]):
        under, counts = np.unique(out[masks[at]], return_counts=True)
        for value, count in zip(under.tolist(), counts.tolist(), strict=True):
            if value and count > _SHARED * sizes[at]:
                other = structures[values.index(value)].name
                raise VolumeError(
                    path,
                    f"the structures {other!r} and {structures[at].name!r} overlap in {count:,} "
                    "voxels",
                    "structures that do not overlap",
                    "Export only those that are to be segmented.",
                )
        out[masks[at]] = values[at]
    return out
