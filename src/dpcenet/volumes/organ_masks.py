"""Masks of single organs become one label map on their scan; what contradicts is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.boxes_and_values import values_in
from dpcenet.volumes.io import stem, suffix_of
from dpcenet.volumes.label_names import MOST_VALUE, given_names, plain_name
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.mask_record import without_results
from dpcenet.volumes.scan_file import Code, Facts, Labels, ScanFile, SourceGrid


@dataclass(frozen=True)
class Part:
    """One mask of several, as it was read.

    Attributes:
        path: of its file.
        name: what the person says that it shows; "" leaves it to the file.
        mask: its labels, with their names and codes where the file has them.
        value: the label value that it gets; None takes the next one.
    """

    path: Path
    name: str
    mask: ScanFile
    value: int | None = None


def masks_in(folder: Path) -> OrganMasks | None:
    """The masks of a folder with a file for each organ, by their names; None where it has none."""
    found = [file for file in sorted(folder.iterdir()) if suffix_of(file) and file.is_file()]
    files = tuple(without_results([file for file in found if not file.name.startswith(".")]))
    return OrganMasks(files, ("",) * len(files)) if files else None


def merged(parts: Sequence[Part], image: ScanFile) -> ScanFile:
    """One label map of several masks. Empty masks are left out.

    Args:
        parts: the masks.
        image: the scan on whose grid they lie.

    Returns:
        (Z, Y, X) uint8 labels in the array order of the scan, with names and codes. One mask
        without a name comes back as it is.

    Raises:
        VolumeError: a mask lies elsewhere or has several labels without names, two of them overlap
            or have one name, or all are empty.
    """
    if len(parts) == 1 and not parts[0].name:
        return parts[0].mask
    labels = _LabelMap(image)
    empty = [part.path.name for part in parts if not part.mask.volume.data.any()]
    if len(empty) == len(parts):
        raise VolumeError(parts[0].path, "every mask is empty", "a label", "Label one voxel.")
    for part in parts:
        if part.path.name not in empty:
            labels.add(part)
    volume = Volume(labels.data, image.volume.affine)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.mask.facts.notes))
    if empty:
        some = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        notes = (*notes, f"empty: {len(empty)} of {counted(len(parts), 'mask')} ({some})")
    facts = Facts(labels=Labels(labels.names, labels.codes), notes=notes)
    return ScanFile(volume, SourceGrid.of(volume), facts=facts)


class _LabelMap:
    """A label map to which masks are added.

    Attributes:
        data: (Z, Y, X) uint8.
        names, codes: of its values.
    """

    def __init__(self, image: ScanFile) -> None:
        self._image = image
        self._paths: dict[int, Path] = {}
        self.data: npt.NDArray[np.uint8] = np.zeros(image.volume.data.shape, np.uint8)
        self.names: dict[int, str] = {}
        self.codes: dict[int, Code] = {}

    def add(self, part: Part) -> None:
        """Add the labels of one mask."""
        data = check_mask(part.mask.volume, self._image.volume, part.path, self._image.grid)
        codes = part.mask.facts.labels.codes
        for stored, name in _meanings(data, part).items():
            value = self._value_for(name, part)
            inside = data == stored
            self._check_overlap(inside, part.path)
            self.data[inside] = value
            self.names[value], self._paths[value] = name, part.path
            if stored in codes:
                self.codes[value] = codes[stored]

    def _value_for(self, name: str, part: Part) -> int:
        for value, other in self.names.items():
            if plain_name(other) == plain_name(name):
                found = f"{name!r} is in {self._paths[value].name}, too"
                raise VolumeError(part.path, found, "each label once", "Leave one out, or rename.")
        value = max(self.names, default=0) + 1 if part.value is None else part.value
        if value > MOST_VALUE:
            raise VolumeError(part.path, "more than 255 labels", "fewer", "Leave some out.")
        return value

    def _check_overlap(self, inside: npt.NDArray[np.bool_], path: Path) -> None:
        taken = self.data[inside]
        if taken.any():
            other = self._paths[int(taken[taken > 0][0])].name
            found = f"{np.count_nonzero(taken):,} voxels are in {other}, too"
            raise VolumeError(
                path, found, "each voxel in one mask", "Decide whose they are, or leave one out."
            )


def _meanings(data: npt.NDArray[Any], part: Part) -> Mapping[int, str]:
    """Stored value → name of the labels that occur in one mask (Z, Y, X)."""
    values = [value for value in values_in(data) if value]
    known = {} if part.name else given_names(part.mask.facts.labels.names)
    if len(values) == 1:
        value = int(values[0])
        return {value: part.name or known.get(value, stem(part.path))}
    if missing := [int(value) for value in values if int(value) not in known]:
        shown = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
        found = f"labels {shown} and one name" if part.name else f"labels {shown} without names"
        raise VolumeError(
            part.path, found, "one label in each of several masks", "Give this label map alone."
        )
    return {int(value): known[int(value)] for value in values}
