"""What is to be segmented: files, folders, globs and DICOM series, and where their masks go."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from dpcenet.errors import DatasetError, NotAScanError, VolumeError
from dpcenet.segmentation.layout import Layout, Named, distinct, mask_name
from dpcenet.system.files import file_hash, hash_of
from dpcenet.volumes.dicom.find_series import Folders, Series, one_series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.find_scans import (
    find_scans,
    lies_within,
    named_like_mask,
    pieces_of,
    scans_among,
)
from dpcenet.volumes.intensities import holds_labels
from dpcenet.volumes.io import DEFAULT_SUFFIX, files_of, mask_suffix, read_volume, stem, suffix_of
from dpcenet.volumes.mask_record import without_results
from dpcenet.volumes.pictures import pictures_in
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions, ScanFile
from dpcenet.volumes.size_guards import MAX_BYTES, check_file
from dpcenet.volumes.walk_folders import LEADS_OUT, LeftAside, shown, why_unusable
from dpcenet.volumes.write_masks import SUFFIX_OF, paths_for

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Query:
    """A scan to segment.

    Attributes:
        source: a file, or a DICOM series.
        name: of its results, without ending, relative to the folder of the results.
        suffix: of its mask.
        options: how it is read where its files leave a choice.
        searched: whether it was found in a folder or by a glob; else a person named it.
        layout: how its mask is called.
        within: a resolved folder out of which nothing is read for it; None reads what there is.
    """

    source: Path | Series
    name: Path
    suffix: str
    options: ReadOptions = AS_IT_IS
    searched: bool = False
    layout: Layout = "default"
    within: Path | None = None

    @property
    def mask_name(self) -> Path:
        """Path of its mask, relative to the folder of the results."""
        return mask_name(self.name, self.suffix, self.layout)

    @property
    def mask_names(self) -> tuple[Path, ...]:
        """Where its mask may lie: `mask_name`, or .nii.gz where no DICOM SEG can be made."""
        return paths_for(self.mask_name)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the scan."""
        return self.source.files if isinstance(self.source, Series) else (self.source,)

    def read(self, max_bytes: int = MAX_BYTES) -> ScanFile:
        """Read the scan.

        Args:
            max_bytes: the most bytes that its voxels may take in memory.

        Raises:
            VolumeError: it cannot be used, or is a mask.
        """
        if self.within is not None and not lies_within(self.source, self.within):
            where = self.source if isinstance(self.source, Path) else self.source.folder
            found = f"a link leads out of {shown(self.within)}"
            raise VolumeError(where, found, "a scan in that folder", "Copy the file there.")
        if isinstance(self.source, Series):
            return read_series(self.source, max_bytes, self.options)
        if not without_results([self.source]):
            found = "this is a result of an earlier call, by the record beside it"
            raise NotAScanError(self.source, found, "a scan", "Leave it out.")
        scan = read_volume(self.source, max_bytes, self.options)
        if named_like_mask(self.source.name) and holds_labels(scan.volume.data):
            raise NotAScanError(
                self.source,
                "this is a mask: its name says so, and it holds few whole numbers",
                "a scan",
                "Leave it out, or rename it if it is one.",
            )
        return scan

    def digest(self) -> str:
        """sha256 of its files' contents, and of how they are read where a choice was made.

        Raises:
            VolumeError: a file is missing, empty, or no regular file.
            OSError: a file cannot be read.
        """
        files = files_of(self.source) if isinstance(self.source, Path) else self.source.files
        for path in files:
            check_file(path)
        content = [file_hash(path) for path in files]
        part = self.source.part if isinstance(self.source, Series) else None
        if self.options == AS_IT_IS and part is None:
            return hash_of(content)
        return hash_of([*content, asdict(self.options), part])


def find_queries(
    paths: Sequence[Path | str],
    pattern: str | None = None,
    out: Path | None = None,
    options: ReadOptions = AS_IT_IS,
    split: bool = False,
    form: str | None = None,
    aside: list[LeftAside] | None = None,
    links_out: bool = True,
) -> list[Query]:
    """The scans that files, folders and globs name, in their order; each once.

    Args:
        paths: results of a folder keep its subfolders; results of single files lie side by side.
        pattern: names to take from folders (paths in the folder, if it has a "/").
        out: folder of the results; it is not searched.
        options: how scans are read whose files leave a choice.
        split: take each volume of a 4-D file or series as a query of its own.
        form: of the masks, a key of `SUFFIX_OF`; None takes the scan's own.
        aside: what was found and is no scan is added to it.
        links_out: whether links that lead out of a folder are followed and opened.

    Raises:
        DatasetError: a folder or a glob without scans, or a file whose name allows no results.
    """
    search = _Search(pattern, out, [] if aside is None else aside, links_out)
    queries = [query for path in paths for query in _queries_of(str(path), search)]
    queries = list({_place(query): replace(query, options=options) for query in queries}.values())
    if form is not None:
        queries = [replace(query, suffix=SUFFIX_OF[form]) for query in queries]
    queries = _with_own_names(queries)
    return [part for query in queries for part in _parts(query)] if split else queries


def _place(query: Query) -> tuple[str, tuple[str, ...]]:
    """Where the files of a query lie, by whatever path they are named; they lie in one folder."""
    names = tuple(path.name for path in query.files)
    return os.path.realpath(_folder_of(query)), names  # not `resolve`, which raises at a loop


@dataclass(frozen=True)
class _Search:
    """How folders and globs are searched; see `find_queries`."""

    pattern: str | None
    out: Path | None
    aside: list[LeftAside]
    links_out: bool
    folders: Folders = field(default_factory=Folders)

    def home(self, folder: Path) -> Path | None:
        """Out of which nothing is read for scans of a folder; None where that is no matter."""
        return None if self.links_out else folder.resolve()

    def folder(self, folder: Path, root: Path) -> list[Query]:
        """The scans of a folder, named by their place below `root`."""
        found = find_scans(folder, self.out, self.aside, self.links_out)
        scans = [_query(scan, root) for scan in found if _fits(scan, folder, self.pattern)]
        return [replace(scan, searched=True, within=self.home(folder)) for scan in scans]

    def pictures(self, folder: Path) -> list[Query]:
        """A folder of pictures as one scan; nothing where it holds none."""
        if not folder.is_dir() or not pictures_in(folder):
            return []
        home = self.home(folder)
        if home is not None and not lies_within(folder, home):
            self.aside.append(LeftAside(folder, LEADS_OUT))
            return []
        return [Query(folder, Path(folder.resolve().name), DEFAULT_SUFFIX, within=home)]


def _queries_of(text: str, search: _Search) -> list[Query]:
    """The queries that one file, folder or glob names."""
    path = Path(text)
    if _is_folder(path):
        queries = search.folder(path, path)
    elif _WILDCARD.search(text) and not os.path.lexists(path):
        queries = _queries_of_glob(path, search)
    else:
        if why := why_unusable(path.name):
            raise DatasetError(f"{shown(path)}: {why}")
        return [_file_query(path, path.parent, search.folders)]
    queries = queries or search.pictures(path)
    if not queries:
        fitting = f" whose name fits {search.pattern!r}" if search.pattern else ""
        raise DatasetError(
            f"{text}: no scan found{fitting}; expected NIfTI, NRRD or MetaImage files, or DICOM "
            "series, that are not masks; a zip is read if you name it"
        )
    return queries


def _queries_of_glob(path: Path, search: _Search) -> list[Query]:
    """The scans among the files that a glob names, and those in the folders that it names."""
    root, wild = _split_at_wildcard(path)
    found = sorted(root.glob(wild))
    queries = [q for folder in found if _is_folder(folder) for q in search.folder(folder, root)]
    files = [file for file in found if not _is_folder(file)]
    volumes = [file for file in files if suffix_of(file) and file.is_file()]
    scans = set(scans_among(volumes, root, search.aside))
    for file in files:
        if why := why_unusable(file.name):
            search.aside.extend([LeftAside(file, why)] if file in scans else [])
        elif file in scans or (file not in volumes and is_dicom(file)):
            queries.append(replace(_file_query(file, root, search.folders), searched=True))
    return queries


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # a name that is too long, or out of reach: reading it says so


def _with_own_names(queries: Sequence[Query]) -> list[Query]:
    """The queries with names that no two share."""
    names = distinct([Named(each.name, _folder_of(each), _kind(each)) for each in queries])
    return [replace(each, name=name) for each, name in zip(queries, names, strict=True)]


def _kind(query: Query) -> str:
    """The ending of its file as a word, such as nii_gz; "" of a series."""
    if isinstance(query.source, Series):
        return ""
    return query.source.name[len(stem(query.source)) :].strip(".").replace(".", "_")


def _folder_of(query: Query) -> Path:
    return query.source.parent if isinstance(query.source, Path) else query.source.folder


def _parts(query: Query) -> list[Query]:
    """Each volume of a query: the query itself where there is one, or it cannot be read."""
    pieces = pieces_of(query.source)
    if len(pieces) == 1:
        return [query]
    return [
        replace(
            query,
            source=piece.source,
            name=query.name.with_name(f"{query.name.name}_{piece.name}"),
            options=replace(query.options, part=piece.part),
        )
        for piece in pieces
    ]


def _split_at_wildcard(path: Path) -> tuple[Path, str]:
    """A glob as the folder before its first wildcard, and the rest."""
    first = next(n for n, part in enumerate(path.parts) if _WILDCARD.search(part))
    return Path(*path.parts[:first]), str(Path(*path.parts[first:]))


def _file_query(path: Path, root: Path, folders: Folders) -> Query:
    """A single file as a query: one slice of a DICOM series stands for the series."""
    if not suffix_of(path) and is_dicom(path):
        return _query(one_series(path, folders=folders), root)
    return _query(path, root)


def _query(source: Path | Series, root: Path) -> Query:
    """A scan as a query; its results lie as the scan does below `root`.

    The mask of a series is a DICOM SEG where that can refer to the series.
    """
    if isinstance(source, Series):
        suffix = ".dcm" if source.referable else ".nii.gz"
        return Query(source, source.folder.relative_to(root) / source.name, suffix)
    relative = source.relative_to(root) if source.is_relative_to(root) else Path(source.name)
    return Query(source, relative.with_name(stem(source)), mask_suffix(source))


def _fits(scan: Path | Series, root: Path, pattern: str | None) -> bool:
    """Whether the scan's name, or its path below `root`, fits the pattern."""
    if pattern is None:
        return True
    path = scan if isinstance(scan, Path) else scan.folder
    relative = path.relative_to(root)
    return fnmatch(relative.as_posix() if "/" in pattern else relative.name, pattern)
