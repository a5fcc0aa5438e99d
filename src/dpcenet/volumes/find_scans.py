"""The scans in a folder, to its bottom: image files and DICOM series, never masks.

Beside `image_*` files, `label_*` files are masks. Elsewhere a file is a mask if its name or a
folder says so and it holds few whole numbers. What an earlier run wrote is known by the record
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import VolumeError
from dpcenet.volumes.dicom.find_series import Folders, Series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.dicom.read_series import split_series
from dpcenet.volumes.io import holds_labels, read_volume, suffix_of, volumes_in
from dpcenet.volumes.mask_record import without_results

_MASK_WORD = re.compile(
    r"(?<![a-z])(labels?|masks?|seg|segmentations?|gt|annotations?)(tr|ts)?(?![a-z])", re.I
)


@dataclass(frozen=True)
class Place:
    """What lies directly in a folder.

    Attributes:
        folder: where.
        scans: image files and DICOM series.
        masks: files of labels, DICOM segmentations and structure sets.
    """

    folder: Path
    scans: tuple[Path | Series, ...]
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Piece:
    """One volume of a file or series.

    Attributes:
        source: the file, or the series with the volume chosen.
        part: the number of the volume from 1; None where there is one.
        name: what tells it from the others; "" where there is one.
    """

    source: Path | Series
    part: int | None = None
    name: str = ""


def find_scans(folder: Path, skip: Path | None = None) -> Iterator[Path | Series]:
    """The scans in a folder and its subfolders; a folder's files come before its subfolders.

    Hidden files and folders, and links to folders, are left out.

    Args:
        folder: where to search.
        skip: a subfolder that is not searched, such as that of the results.
    """
    for place in walk(folder, skip):
        yield from place.scans


def walk(folder: Path, skip: Path | None = None) -> Iterator[Place]:
    """The folder and its subfolders, each with its scans and masks; see `find_scans`."""
    yield from _search(folder, folder, skip and skip.resolve())


def pieces_of(source: Path | Series) -> list[Piece]:
    """Each volume of a file or series (echo, phase, time point); one where it cannot be read."""
    try:
        if isinstance(source, Series):
            parts = split_series(source)
            if len(parts) == 1:
                return [Piece(source)]
            names = [part.name.removeprefix(f"{source.name}_") for part in parts]
            return [Piece(part, part.part, name) for part, name in zip(parts, names, strict=True)]
        count = volumes_in(source)
    except (VolumeError, OSError):
        return [Piece(source)]  # reading it says why
    if count == 1:
        return [Piece(source)]
    digits = len(str(count))
    return [Piece(source, number, f"{number:0{digits}d}") for number in range(1, count + 1)]


def named_like_mask(name: str) -> bool:
    """Whether a file or folder name has a word such as "mask", "seg" or "labelsTr"."""
    return _MASK_WORD.search(name) is not None


def _search(folder: Path, root: Path, skip: Path | None) -> Iterator[Place]:
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file()]
    volumes = without_results([file for file in files if suffix_of(file)])
    scans = _without_masks(volumes, root)
    masks = [file for file in volumes if file not in scans]
    series: list[Series] = []
    if any(file.suffix.lower() == ".dcm" or is_dicom(file) for file in files):
        contents = Folders().contents(folder)
        series, masks = contents.series, [*masks, *contents.masks]
    yield Place(folder, (*scans, *series), tuple(masks))
    for child in children:
        if child.is_dir() and not child.is_symlink() and child.resolve() != skip:
            yield from _search(child, root, skip)


def _without_masks(files: list[Path], root: Path) -> list[Path]:
    """The scans among the image files of one folder."""
    if any(file.name.startswith("image_") for file in files):
        files = [file for file in files if not file.name.startswith("label_")]
    return [file for file in files if not _is_mask(file, root)]


def _is_mask(file: Path, root: Path) -> bool:
    """Whether a name on the way from `root` says "mask" and the voxels do not contradict it."""
    if not any(map(named_like_mask, file.relative_to(root).parts)):
        return False
    try:
        return holds_labels(read_volume(file).volume.data)
    except VolumeError:
        return True  # damaged, and named like a mask
