"""What a data set is: its labels, rules, folds and terms, and how its raw files are read.

A data set is one file with one `DatasetSpec`; `registry.py` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.data.store import Origin
from dpcenet.errors import DatasetError, VolumeError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.adapters import open_scan
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.intensities import WHOLE
from dpcenet.volumes.label_names import given_names
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.mask_files import MaskFile
from dpcenet.volumes.masks import read_mask
from dpcenet.volumes.preprocess import Preprocessing
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions, ScanFile

MOST_SHOWN = 8
"""Unknown label values in a message."""


@dataclass(frozen=True)
class SourceCase:
    """The files of one scan before it is prepared.

    Attributes:
        name: of the case.
        image: a file, a DICOM series, or its folder.
        label: a file, a folder, a file for each organ, or None for a scan without labels.
        values: raw value → label, where they differ; None where the raw values are the labels.
        options: how the scan is read where its files leave a choice.
    """

    name: str
    image: Path | Series
    label: MaskFile | None
    values: Mapping[int, int] | None = None
    options: ReadOptions = AS_IT_IS


@dataclass(frozen=True)
class SourceFolder:
    """A folder of scans, as found.

    Attributes:
        cases: in their order, which decides the folds of a set without written ones.
        labels: value → name where the folder says so, else empty.
        modality: "mr" or "ct" where the folder says so, else None.
    """

    cases: tuple[SourceCase, ...]
    labels: dict[int, str] = field(default_factory=dict)
    modality: Literal["mr", "ct"] | None = None


@dataclass(frozen=True)
class RawCase:
    """A case that has been read.

    Attributes:
        scan: as read.
        labels: as values of the data set.
        names: value → name, where the files of the labels say so.
        notes: what reading the labels did beyond reading, a line each.
    """

    scan: ScanFile
    labels: Volume | None
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_pair(case: SourceCase, values: Mapping[int, int] | None = None) -> RawCase:
    """Read a scan and its label map.

    Args:
        case: their files.
        values: raw value → label; by default those of the case.

    Raises:
        VolumeError: a file cannot be used, or a value is unknown.
    """
    scan = open_scan(case.image, case.options)
    if case.label is None:
        return RawCase(scan, None)
    mask = read_mask(case.label, scan)
    table = case.values if values is None else values
    names, notes = given_names(mask.facts.labels.names), mask.facts.notes
    if table is None:
        return RawCase(scan, mask.volume, names, notes)
    ignored = sorted(value for value, label in table.items() if value and not label)
    if count := int(np.isin(mask.volume.data, ignored).sum()):
        notes = (*notes, f"{counted(count, 'voxel')} of label {ignored[0]}: taken as not labelled")
    return RawCase(scan, remap(mask.volume, table, str(case.label)), notes=notes)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Origin):
    """A data set: see `Origin`, and how its raw files are read and prepared.

    Attributes:
        find: finds the cases in a folder as downloaded.
        read: reads one of them.
        labels: value → name in the prepared set; empty where the folder or the user says.
        preprocessing: grid and intensities; None where modality and spacing follow from the scans.
        supervoxel_size: voxels of the smallest supervoxel.
        pixel_step: pixels of the scan from one prepared pixel to the next, where a set is scaled
            by a factor and not to a spacing in mm.
    """

    find: Callable[[Path], SourceFolder]
    read: Callable[[SourceCase], RawCase] = read_pair
    labels: Mapping[int, str] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    supervoxel_size: int = 5000
    pixel_step: float | None = None

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases that the set consists of, in order; empty where any case belongs to it."""
        return tuple(sorted(case for block in self.folds for case in block))


def modality_of(channels: Mapping[str, str], path: Path) -> Literal["mr", "ct"]:
    """The modality of the one channel that dataset.json declares.

    Raises:
        DatasetError: there are several.
    """
    if len(channels) != 1:
        raise DatasetError(f"{path}: {len(channels)} channels; dpcenet reads scans of one channel")
    (channel,) = channels.values()
    return "ct" if str(channel).upper() == "CT" else "mr"


def find_files(
    folder: Path, image: str, label: str, name: Callable[[str], str]
) -> tuple[SourceCase, ...]:
    """Pairs of files anywhere below a folder.

    Args:
        folder: where to look.
        image, label: regular expressions of the whole file name; group 1 is the case's number.
        name: from that number to the case's name.

    Raises:
        DatasetError: a case has two files, or a label no image.
    """
    images, labels = _numbered(folder, image, name), _numbered(folder, label, name)
    stray = sorted(set(labels) - set(images))
    if stray:
        raise DatasetError(f"{folder}: label without image: {', '.join(stray)}")
    return tuple(SourceCase(case, images[case], labels.get(case)) for case in sorted(images))


def _numbered(folder: Path, pattern: str, name: Callable[[str], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        match = re.fullmatch(pattern, path.name)
        if match is None or path.is_dir():
            continue
        case = name(match[1])
        if case in found:
            raise DatasetError(f"{folder}: two files for case {case}: {found[case]} and {path}")
        found[case] = path
    return found


def remap(labels: Volume, table: Mapping[int, int], path: Path | str) -> Volume:
    """Raw label values to the data set's, by value.

    Args:
        labels: (Z, Y, X) numbers.
        table: raw value → label; 0 stays background.
        path: for the error.

    Raises:
        VolumeError: a value is not in the table.
    """
    data: npt.NDArray[Any] = labels.data
    out = np.zeros(data.shape, dtype=np.uint8)
    unknown = []
    for value in np.unique(data).tolist():
        near = round(value) if np.isfinite(value) and abs(value - round(value)) <= WHOLE else value
        if near in table:
            out[data == value] = table[near]
        elif near != 0:
            unknown.append(value)
    if unknown:
        # A scan in place of its labels has thousands.
        shown = ", ".join(f"{value:g}" for value in unknown[:MOST_SHOWN])
        more = ", …" if len(unknown) > MOST_SHOWN else ""
        raise VolumeError(
            path,
            f"label values {shown}{more} are unknown",
            f"0 or {', '.join(str(value) for value in table)}",
            "Check that this is the label file of this data set.",
        )
    return Volume(out, labels.affine)


def check_case(raw: RawCase, case: SourceCase, known: Iterable[int]) -> None:
    """Refuse labels on another grid than their scan, and values that the data set does not have.

    Raises:
        VolumeError: the message names the file.
    """
    if raw.labels is None:
        return
    path = str(case.label or case.name)
    data = check_mask(raw.labels, raw.scan.volume, path, raw.scan.grid)
    values = list(known)
    if values:
        remap(Volume(data, raw.scan.volume.affine), dict.fromkeys(values, 0), path)
