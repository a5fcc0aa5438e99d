"""The scans in a folder, to its bottom: image files and DICOM series, never masks.

Beside `image_*` files, `label_*` files are masks. Elsewhere a file is a mask if its name or a
folder says so and it holds few whole numbers. What an earlier run wrote is known by the record
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import VolumeError
from dpcenet.volumes.dicom.find_series import Folders, Series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.dicom.read_series import split_series
from dpcenet.volumes.intensities import holds_labels, is_label_map
from dpcenet.volumes.io import ZIP_SUFFIX, files_of, read_volume, suffix_of, volumes_in
from dpcenet.volumes.mask_record import without_results
from dpcenet.volumes.scan_file import sidecar_of
from dpcenet.volumes.walk_folders import LEADS_OUT, Folder, LeftAside, folders_below, lies_in

_BESIDE = "beside a link that leads out of the folder: nobody knows whether the series is whole"

_ZIP = "a zip, which is read if you name it: name it too, or unpack it"

_MASK_WORD = re.compile(
    r"(?<![a-z])(labels?|masks?|d?seg|segmentations?|gt|annotations?|total|a?parc|aseg|labelmap)"
    r"(tr|ts)?(?![a-z])",
    re.I,
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


def find_scans(
    folder: Path,
    skip: Path | None = None,
    aside: list[LeftAside] | None = None,
    links_out: bool = True,
) -> Iterator[Path | Series]:
    """The scans in a folder and its subfolders; a folder's files come before its subfolders.

    Hidden files and folders are left out, and links to folders are followed once.

    Args:
        folder: where to search.
        skip: a subfolder that is not searched, such as that of the results.
        aside: what is no scan, or cannot be used, is added to it.
        links_out: whether links that lead out of the folder are followed; else nothing is opened
            that lies elsewhere.
    """
    for place in walk(folder, skip, aside, links_out):
        yield from place.scans


def walk(
    folder: Path,
    skip: Path | None = None,
    aside: list[LeftAside] | None = None,
    links_out: bool = True,
) -> Iterator[Place]:
    """The folder and its subfolders, each with its scans and masks; see `find_scans`."""
    left = [] if aside is None else aside
    home = None if links_out else folder.resolve()
    for each in folders_below(folder, skip, left, links_out):
        yield _look(_without_voxels_elsewhere(each, home, left), folder, left)


def lies_within(source: Path | Series, home: Path) -> bool:
    """Whether all that is read for a scan lies in `home`, a resolved path.

    A header may name voxels beside it, and a file may have a description beside it.
    """
    if isinstance(source, Series):
        return all(lies_in(path, home) for path in source.files)
    try:
        files = files_of(source)
    except (VolumeError, OSError):
        files = ()  # the header cannot be read, and nothing else will be
    return all(lies_in(path, home) for path in (source, *files, sidecar_of(source)))


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


def scans_among(
    files: list[Path], root: Path, aside: list[LeftAside], outside: Sequence[Path] = ()
) -> list[Path]:
    """The scans among image files of one folder: no masks, and no results of an earlier call.

    Args:
        files: with known endings.
        root: where the search began; names on the way from there may say "masks".
        aside: the others are added to it.
        outside: links that are not to be opened.
    """
    mine = without_results(files, outside)
    aside += [LeftAside(file, "a result of an earlier call") for file in files if file not in mine]
    pairs = any(file.name.startswith("image_") for file in mine)
    masks = [f for f in mine if (pairs and f.name.startswith("label_")) or _is_mask(f, root)]
    aside += [LeftAside(file, "a mask") for file in masks]
    return [file for file in mine if file not in masks]


def _without_voxels_elsewhere(each: Folder, home: Path | None, aside: list[LeftAside]) -> Folder:
    """The folder without headers whose voxels lie out of `home`; all of it where that is None."""
    if home is None:
        return each
    out = [file for file in each.files if suffix_of(file) and not lies_within(file, home)]
    aside += [LeftAside(file, LEADS_OUT) for file in out]
    return each._replace(files=[file for file in each.files if file not in out])


def _look(each: Folder, root: Path, aside: list[LeftAside]) -> Place:
    """What lies directly in a folder."""
    folder, files, outside = each
    dicom = {file for file in files if is_dicom(file)}  # some exports call them .nii or .hdr
    volumes = [file for file in files if suffix_of(file) and file not in dicom]
    left: list[LeftAside] = []
    scans = scans_among(volumes, root, left, outside)
    masks = [each.path for each in left if each.why == "a mask"]
    aside += left
    aside += [LeftAside(file, _ZIP) for file in files if file.suffix.lower() == ZIP_SUFFIX]
    series: list[Series] = []
    if dicom or any(file.suffix.lower() == ".dcm" for file in files):
        if outside:  # a series is known by its folder, and files of this one are not to be opened
            aside.append(LeftAside(folder, _BESIDE))
            return Place(folder, tuple(scans), tuple(masks))
        try:
            contents = Folders().contents(folder)
        except VolumeError as error:
            aside.append(LeftAside(folder, error.found))
        else:
            series, masks = contents.series, [*masks, *contents.masks]
    return Place(folder, (*scans, *series), tuple(masks))


def _is_mask(file: Path, root: Path) -> bool:
    """Whether a name on the way from `root` says "mask" and the voxels do not contradict it."""
    if not any(map(named_like_mask, file.relative_to(root).parts)):
        return False
    try:
        data = read_volume(file).volume.data
        return holds_labels(data) or is_label_map(data)
    except VolumeError:
        return True  # damaged, and named like a mask
