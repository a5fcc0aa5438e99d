"""Which DICOM series lie in a folder, and which of its files are none of them.

Needs pydicom: the extra `dicom`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpcenet.errors import VolumeError

if TYPE_CHECKING:
    from pydicom import FileDataset

EXPORT_AGAIN = "Export the series again, one folder for each series."
_MAGIC_AT, _MAGIC = 128, b"DICM"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
REFERRED = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Modality")
"""Attributes of a series without which no DICOM SEG can refer to it."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
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
    """

    name: str
    uid: str
    files: tuple[Path, ...]
    referable: bool

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.files[0].parent

    def __str__(self) -> str:
        alone = self.name == _plain(self.folder.resolve().name)
        return str(self.folder) if alone else f"{self.folder} (series {self.name})"


def find_series(folder: Path) -> list[Series]:
    """The series of CT, MR or PET images that lie directly in a folder; none if there is none.

    Left aside are hidden files, files that are not DICOM, localisers, and DICOM objects that are
    no scan: segmentations, structure sets, dose, reports, screenshots. Names need no .dcm.
    """
    return _look_into(folder)[0]


def one_series(path: Path) -> Series:
    """The one series of a folder, or the series that a file belongs to.

    Raises:
        VolumeError: the folder holds none, or several.
    """
    folder = path.parent if path.is_file() else path
    series, aside = _look_into(folder)
    if path.is_file():
        for each in series:
            if path in each.files:
                return each
        raise bad(path, "this is no slice of a scan", "a CT, MR or PET image")
    if len(series) == 1:
        return series[0]
    if series:
        names = ", ".join(f"{each.name} ({len(each.files)} files)" for each in series)
        remedy = "Name one file of the series that you mean."
        raise VolumeError(folder, f"{len(series)} series in one folder: {names}", "one", remedy)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(aside.items()))
    seen = f"0 DICOM slices{f' (left aside: {kinds})' if kinds else ''}"
    raise VolumeError(path, seen, "a series of CT, MR or PET slices", EXPORT_AGAIN)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; the name does not matter."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        stream.seek(_MAGIC_AT)
        return stream.read(len(_MAGIC)) == _MAGIC


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation."""
    return is_dicom(path) and _kind(read_header(path)) in (SEGMENTATION, LABEL_MAP)


def read_header(path: Path) -> FileDataset:
    """Everything of a DICOM file but its pixels.

    Raises:
        VolumeError: pydicom is missing, or the file is damaged.
    """
    try:
        import pydicom
    except ImportError as error:
        raise VolumeError(
            path, "pydicom is not installed", "it, to read DICOM", "pip install 'dpcenet[dicom]'"
        ) from error
    try:
        # Old exports lack the first bytes by which `is_dicom` knows the others.
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except (OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise bad(path, f"cannot be read ({reason(error)})", "a whole DICOM file") from error
    if not _kind(header):
        raise bad(path, "it has no SOP class: damaged, or not DICOM", "a whole DICOM file")
    return header


def bad(path: Path, found: str, expected: str, remedy: str = EXPORT_AGAIN) -> VolumeError:
    """An error whose remedy, by default, is another export."""
    return VolumeError(path, found, expected, remedy)


def reason(error: Exception) -> str:
    """What a library says went wrong, on one line."""
    return " ".join(str(error).split())


def _look_into(folder: Path) -> tuple[list[Series], Counter[str]]:
    """The series of a folder, and how many files of which kind are none."""
    found: dict[Path, FileDataset] = {}
    damaged: list[Path] = []
    aside: Counter[str] = Counter()
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if not is_dicom(path) and path.suffix.lower() != ".dcm":
            continue
        try:
            header = read_header(path)
        except VolumeError:
            damaged.append(path)
            continue
        if kind := _no_scan(header):
            aside[kind] += 1
        elif "SeriesInstanceUID" in header:
            found[path] = header
        else:
            damaged.append(path)
    return _grouped(folder, found, damaged), aside


def _kind(header: FileDataset) -> str:
    """SOP class; the one of the file's first bytes also survives in a file that is cut short."""
    first = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    return str(header.get("SOPClassUID", "") or first)


def _no_scan(header: FileDataset) -> str:
    """What a file is that is no slice of a scan; "" for a slice."""
    from pydicom.uid import UID

    kind = _kind(header)
    if "LOCALIZER" in (str(part).upper() for part in header.get("ImageType", None) or ()):
        return "localiser"
    placed_capture = kind.startswith(_SECONDARY_CAPTURE) and "ImagePositionPatient" in header
    return "" if kind in _SCANS or placed_capture else UID(kind).name or "without a kind"


def _grouped(folder: Path, found: dict[Path, FileDataset], damaged: list[Path]) -> list[Series]:
    files: defaultdict[str, list[Path]] = defaultdict(list)
    for path, header in found.items():
        files[str(header.SeriesInstanceUID)].append(path)
    if damaged and not files:
        files[""] = []
    base = _plain(folder.resolve().name)
    names = {uid: f"{base}_{_described(found[paths[0]])}" for uid, paths in files.items() if paths}
    often = Counter(names.values())
    series = []
    for uid, paths in files.items():
        name = base if len(files) == 1 else names[uid]
        if often[name] > 1:  # the same number and description: the end of the UID tells them apart
            name = f"{name}_{uid[-12:]}"
        referable = all(found[path].get(key, None) for path in paths for key in REFERRED)
        series.append(Series(name, uid, tuple(sorted([*paths, *damaged])), referable))
    return series


def _described(header: FileDataset) -> str:
    parts = (header.get("SeriesNumber", None), header.get("SeriesDescription", None))
    return _plain("_".join(str(part) for part in parts if part is not None)) or "series"


def _plain(text: str) -> str:
    """The text as part of a file name: nothing that a header says may lead elsewhere."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._")[:64]
