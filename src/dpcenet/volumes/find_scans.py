"""The scans in a folder, to its bottom: image files and DICOM series, never masks.

Beside `image_*` files, `label_*` files are masks. Elsewhere a file is a mask if its name or a
folder says so and it holds few whole numbers. What an earlier run wrote is known by the record
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dpcenet.errors import VolumeError
from dpcenet.volumes.dicom.find_series import Series, find_series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.io import holds_labels, read_volume, suffix_of
from dpcenet.volumes.mask_record import without_results

_MASK_WORD = re.compile(
    r"(?<![a-z])(labels?|masks?|seg|segmentations?|gt|annotations?)(tr|ts)?(?![a-z])", re.I
)


def find_scans(folder: Path, skip: Path | None = None) -> Iterator[Path | Series]:
    """The scans in a folder and its subfolders; a folder's files come before its subfolders.

    Hidden files and folders, and links to folders, are left out.

    Args:
        folder: where to search.
        skip: a subfolder that is not searched, such as that of the results.
    """
    yield from _search(folder, folder, skip and skip.resolve())


def named_like_mask(name: str) -> bool:
    """Whether a file or folder name has a word such as "mask", "seg" or "labelsTr"."""
    return _MASK_WORD.search(name) is not None


def _search(folder: Path, root: Path, skip: Path | None) -> Iterator[Path | Series]:
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file()]
    yield from _without_masks([file for file in files if suffix_of(file)], root)
    if any(file.suffix.lower() == ".dcm" or is_dicom(file) for file in files):
        yield from find_series(folder)
    for child in children:
        if child.is_dir() and not child.is_symlink() and child.resolve() != skip:
            yield from _search(child, root, skip)


def _without_masks(files: list[Path], root: Path) -> list[Path]:
    """The scans among the image files of one folder."""
    files = without_results(files)
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
