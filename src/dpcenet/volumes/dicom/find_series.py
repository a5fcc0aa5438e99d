"""Which DICOM series lie in a folder, and which of its files are none of them.

Needs pydicom: the extra `dicom`.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dpcenet.errors import VolumeError
from dpcenet.system.words import counted
from dpcenet.volumes.dicom.headers import (
    EXPORT_AGAIN,
    LABEL_MAP,
    SEGMENTATION,
    STRUCTURES,
    bad,
    is_dicom,
    parsing,
    read_header,
    sop_class,
)
from dpcenet.volumes.scan_file import choose

if TYPE_CHECKING:
    from pydicom import FileDataset

_NAME_BYTES = 120
"""Of a series' name: what is made of it has to fit a file system's 255."""
_CHOOSE = "Name one file of the series that you mean, or choose it with --series."
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
REFERRED = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Modality")
"""Attributes of a series without which no DICOM SEG can refer to it."""
_SCANS = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{kind}"
    for kind in (
        *("2", "2.1", "2.2"),  # CT, its enhanced form, and the legacy one that was converted
        *("4", "4.1", "4.4"),  # MR
        *("128", "130", "128.1"),  # PET
    )
)


@dataclass(frozen=True)
class Series:
    """One series of images in a folder.

    Attributes:
        name: for files made of it: the folder's name, and the series' number and description
            where the folder holds several. Letters, digits, `_`, `-` and `.` only.
        uid: SeriesInstanceUID; "" where no file names one.
        files: in the order of their names. A damaged file may be a slice of any series, so each
            series of its folder has it, and reading says what is wrong with it.
        referable: whether its headers have the UIDs by which a DICOM SEG refers to a series.
        part: which of several volumes in it, from 1; None where that is open, or there is one.
    """

    name: str
    uid: str
    files: tuple[Path, ...]
    referable: bool
    part: int | None = None

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.files[0].parent

    def __str__(self) -> str:
        alone = self.name == plain(self.folder.resolve().name)
        return str(self.folder) if alone else f"{self.folder} (series {self.name})"


@dataclass(frozen=True)
class Contents:
    """What lies directly in a folder.

    Attributes:
        series: of CT, MR or PET images.
        masks: segmentations and structure sets.
        aside: kind → how many files of it are no scan.
    """

    series: list[Series]
    masks: list[Path]
    aside: Counter[str]


@dataclass(frozen=True)
class Folders:
    """Folders that were looked into, each once: 300 slices by name cost what their folder costs."""

    seen: dict[Path, Contents] = field(default_factory=dict)

    def contents(self, folder: Path) -> Contents:
        """What lies directly in a folder.

        Raises:
            VolumeError: it cannot be read.
        """
        if folder not in self.seen:
            self.seen[folder] = _look_into(folder)
        return self.seen[folder]


def find_series(folder: Path) -> list[Series]:
    """The series of CT, MR or PET images that lie directly in a folder; none if there is none.

    Left aside are hidden files, files that are not DICOM, localisers, and DICOM objects that are
    no scan: segmentations, structure sets, dose, reports, screenshots. Names need no .dcm.

    Raises:
        VolumeError: the folder cannot be read.
    """
    return _look_into(folder).series


def one_series(
    path: Path, wanted: int | str | None = None, folders: Folders | None = None
) -> Series:
    """The one series of a folder, or the series that a file belongs to.

    Args:
        path: a folder, or a file of the series.
        wanted: which of several: a number from 1, or its name.
        folders: what was looked into before.

    Raises:
        VolumeError: the folder holds none, or several.
    """
    folder = path.parent if path.is_file() else path
    found = (folders or Folders()).contents(folder)
    if path.is_file():
        for each in found.series:
            if path in each.files:
                return each
        raise bad(path, "this is no slice of a scan", "a CT, MR or PET image")
    if len(found.series) > 1 and wanted is None:
        names = [f"{each.name} ({counted(len(each.files), 'file')})" for each in found.series]
        raise VolumeError(
            folder, f"{len(names)} series in one folder: {', '.join(names)}", "one", _CHOOSE
        )
    if found.series:
        return found.series[choose(wanted, [each.name for each in found.series], path, _CHOOSE)]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.aside.items()))
    seen = f"0 DICOM slices{f' (left aside: {kinds})' if kinds else ''}"
    raise VolumeError(path, seen, "a series of CT, MR or PET slices", EXPORT_AGAIN)


def find_segmentation(folder: Path) -> Path | None:
    """The one SEG or RTSTRUCT of a folder; None where there is none.

    Raises:
        VolumeError: there are several, or the folder cannot be read.
    """
    masks = _look_into(folder).masks
    if len(masks) > 1:
        names = ", ".join(path.name for path in masks[:5])
        found = f"{len(masks)} segmentations in one folder ({names})"
        raise VolumeError(folder, found, "one", "Name the file that you mean.")
    return masks[0] if masks else None


@dataclass(frozen=True)
class _File:
    """What is needed of a file to find its series, converted."""

    kind: str
    no_scan: str
    series: str
    described: str
    referable: bool


def _look_into(folder: Path) -> Contents:
    """The series of a folder, and what is none."""
    found: dict[Path, _File] = {}
    damaged: list[Path] = []
    masks: list[Path] = []
    aside: Counter[str] = Counter()
    for path in _files_in(folder):
        try:
            file = _file(path)
        except VolumeError:
            damaged.append(path)
            continue
        if file.no_scan:
            aside[file.no_scan] += 1
            masks += [path] * (file.kind in (SEGMENTATION, LABEL_MAP, STRUCTURES))
        elif file.series:
            found[path] = file
        else:
            damaged.append(path)
    return Contents(_grouped(folder, found, damaged), masks, aside)


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM, or are named so."""
    try:
        children = sorted(folder.iterdir() if folder.is_dir() else ())
    except OSError as error:
        found = f"the folder cannot be read ({error.strerror})"
        raise VolumeError(folder, found, "a folder of scans", "Check its permissions.") from error
    return [
        path
        for path in children
        if not path.name.startswith(".") and (is_dicom(path) or _named_dicom(path))
    ]


def _named_dicom(path: Path) -> bool:
    try:
        return path.suffix.lower() == ".dcm" and path.is_file()
    except OSError:
        return False


def _file(path: Path) -> _File:
    header = read_header(path)
    with parsing(path):
        return _File(
            sop_class(header),
            _no_scan(header),
            str(header.get("SeriesInstanceUID", None) or ""),
            _described(header),
            all(header.get(key, None) for key in REFERRED),
        )


def _no_scan(header: FileDataset) -> str:
    """What a file is that is no slice of a scan; "" for a slice."""
    from pydicom.uid import UID

    kind = sop_class(header)
    if "LOCALIZER" in (str(part).upper() for part in header.get("ImageType", None) or ()):
        return "localiser"
    placed_capture = kind.startswith(_SECONDARY_CAPTURE) and "ImagePositionPatient" in header
    return "" if kind in _SCANS or placed_capture else UID(kind).name or "without a kind"


def _grouped(folder: Path, found: dict[Path, _File], damaged: list[Path]) -> list[Series]:
    files: defaultdict[str, list[Path]] = defaultdict(list)
    for path, file in found.items():
        files[file.series].append(path)
    if damaged and not files:
        files[""] = []
    base = plain(folder.resolve().name)
    names = {
        uid: plain(f"{base}_{found[paths[0]].described}") for uid, paths in files.items() if paths
    }
    often = Counter(names.values())
    series = []
    for uid, paths in files.items():
        name = base if len(files) == 1 else names[uid]
        if often[name] > 1:  # the same number and description: the end of the UID tells them apart
            name = f"{name}_{plain(uid[-12:])}"
        referable = all(found[path].referable for path in paths)
        series.append(Series(name, uid, tuple(sorted([*paths, *damaged])), referable))
    return series


def _described(header: FileDataset) -> str:
    parts = (header.get("SeriesNumber", None), header.get("SeriesDescription", None))
    text = "_".join(str(part) for part in parts if part is not None)
    return plain(text) if text else "series"


def plain(text: str) -> str:
    """The text as part of a file name, in any script: nothing a header says may lead elsewhere."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    shortened = os.fsencode(name)[:_NAME_BYTES].decode("utf-8", "ignore")
    return shortened.strip("._") or "series"
