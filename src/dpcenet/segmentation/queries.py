"""What is to be segmented: files, folders, globs and DICOM series; never a mask.

A folder is searched to its bottom. Beside `image_*` files, `label_*` files are labels; elsewhere a
file is a mask if its name says so and it holds few whole numbers. What an earlier run wrote is
known by the record beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from dpcenet.errors import DatasetError, VolumeError
from dpcenet.system.files import file_hash, hash_of
from dpcenet.volumes.dicom.find_series import Folders, Series, find_series, one_series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.grid import ScanFile
from dpcenet.volumes.io import files_of, holds_labels, mask_suffix, read_volume, stem, suffix_of
from dpcenet.volumes.mask_record import without_results
from dpcenet.volumes.size_guards import MAX_BYTES, check_file

_MASK_WORD = re.compile(
    r"(?<![a-z])(labels?|masks?|seg|segmentations?|gt|annotations?)(tr|ts)?(?![a-z])", re.I
)
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Query:
    """A scan to segment.

    Attributes:
        source: a file, or a DICOM series.
        name: of what is written for it, without ending, relative to the folder of the results.
        suffix: of its mask.
    """

    source: Path | Series
    name: Path
    suffix: str

    @property
    def mask_name(self) -> Path:
        """Where its mask goes, relative to the folder of the results."""
        return self.name.with_name(f"{self.name.name}_seg{self.suffix}")

    @property
    def mask_names(self) -> tuple[Path, ...]:
        """Where its mask may lie: beside `mask_name`, as .nii.gz where no DICOM SEG can be made."""
        name = self.mask_name
        return (name, name.with_suffix(".nii.gz")) if self.suffix == ".dcm" else (name,)

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read for it."""
        return self.source.files if isinstance(self.source, Series) else (self.source,)

    def read(self, max_bytes: int = MAX_BYTES) -> ScanFile:
        """Read the scan.

        Args:
            max_bytes: cap on its voxels in memory.

        Raises:
            VolumeError: it cannot be used, or is a mask.
        """
        if isinstance(self.source, Series):
            return read_series(self.source, max_bytes)
        scan = read_volume(self.source, max_bytes)
        if _named_mask(self.source.name) and holds_labels(scan.volume.data):
            raise VolumeError(
                self.source,
                "this is a mask: its name says so, and it holds few whole numbers",
                "a scan",
                "Leave it out, or rename it if it is one.",
            )
        return scan

    def digest(self) -> str:
        """sha256 of what its files hold.

        Raises:
            VolumeError: a file is missing or empty, or is none.
            OSError: a file cannot be read.
        """
        files = files_of(self.source) if isinstance(self.source, Path) else self.source.files
        for path in files:
            check_file(path)
        return hash_of([file_hash(path) for path in files])


def find_queries(
    paths: Sequence[Path | str], pattern: str | None = None, out: Path | None = None
) -> list[Query]:
    """What files, folders and globs mean, in their order; each once.

    Args:
        paths: a folder's results keep its shape; other results lie side by side.
        pattern: of the names (or of the paths in a folder, where it has a "/") to take.
        out: folder of the results, which is not searched where it lies in a searched one.

    Raises:
        DatasetError: a folder or a glob without scans.
    """
    folders = Folders()
    queries = [query for path in paths for query in _found(str(path), pattern, out, folders)]
    return list({query.files: query for query in queries}.values())


def _found(path: str, pattern: str | None, out: Path | None, folders: Folders) -> list[Query]:
    place = Path(path)
    if place.is_dir():
        found = [q for q in _walk(place, place, out) if _wanted(q, place, pattern)]
    elif _WILD.search(path) and not place.exists():
        root, wild = _fixed_and_wild(place)
        found = [_query(f, root, folders) for f in sorted(root.glob(wild)) if f.is_file()]
    else:
        return [_query(place, place.parent, folders)]
    if not found:
        wanted = f" whose name fits {pattern!r}" if pattern else ""
        raise DatasetError(
            f"{path}: no scan found{wanted}; expected NIfTI, NRRD or MetaImage files, or DICOM "
            "series, that are not masks"
        )
    return found


def _fixed_and_wild(path: Path) -> tuple[Path, str]:
    """A glob as the folder before its first wildcard, and the rest."""
    first = next(n for n, part in enumerate(path.parts) if _WILD.search(part))
    return Path(*path.parts[:first]), str(Path(*path.parts[first:]))


def _walk(folder: Path, root: Path, out: Path | None) -> Iterator[Query]:
    """The scans of a folder and of those in it, folders after files."""
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file()]
    for file in _without_masks([file for file in files if suffix_of(file)], root):
        yield _query(file, root, Folders())
    if any(file.suffix.lower() == ".dcm" or is_dicom(file) for file in files):
        for series in find_series(folder):
            yield _series_query(series, folder.relative_to(root))
    for child in children:
        if child.is_dir() and not child.is_symlink() and not _same(child, out):
            yield from _walk(child, root, out)


def _without_masks(files: list[Path], root: Path) -> list[Path]:
    """The scans among the volume files of one folder."""
    files = without_results(files)
    if any(f.name.startswith("image_") for f in files):
        files = [file for file in files if not file.name.startswith("label_")]
    return [file for file in files if not _is_mask(file, root)]


def _is_mask(file: Path, root: Path) -> bool:
    """Whether name or folder say "mask" and the voxels do not contradict."""
    if not any(map(_named_mask, file.relative_to(root).parts)):
        return False
    try:
        return holds_labels(read_volume(file).volume.data)
    except VolumeError:
        return True  # damaged, and by its name no scan


def _named_mask(name: str) -> bool:
    return _MASK_WORD.search(name) is not None


def _series_query(series: Series, place: Path) -> Query:
    """A series as a query; its mask is a DICOM SEG where that can refer to it."""
    return Query(series, place / series.name, ".dcm" if series.referable else ".nii.gz")


def _query(path: Path, root: Path, folders: Folders) -> Query:
    """A file as a query; its results lie as it does below `root`."""
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    if not suffix_of(path) and is_dicom(path):
        return _series_query(one_series(path, folders=folders), relative.parent)
    return Query(path, relative.with_name(stem(path)), mask_suffix(path))


def _wanted(query: Query, root: Path, pattern: str | None) -> bool:
    if pattern is None:
        return True
    path = query.source if isinstance(query.source, Path) else query.source.folder
    relative = path.relative_to(root)
    return fnmatch(relative.as_posix() if "/" in pattern else relative.name, pattern)


def _same(folder: Path, out: Path | None) -> bool:
    return out is not None and folder.resolve() == out.resolve()
