"""Folders of scans, to their bottom: which scans there are, and which mask belongs to which.

The scans are those that `segment` finds. A scan's labels are, in this order: `label_NAME` beside
`image_NAME`; the SEG or RTSTRUCT that refers to its series; what lies beside it where it is the
only scan in its folder. Several masks of one scan are one for each organ.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

from dpcenet.data.datasets import dataset_json
from dpcenet.data.datasets.spec import DatasetSpec, SourceCase, SourceFolder
from dpcenet.errors import DatasetError, one_line
from dpcenet.volumes.dicom.find_series import Series, plain
from dpcenet.volumes.dicom.headers import is_dicom, referred_series
from dpcenet.volumes.find_scans import Place, walk
from dpcenet.volumes.io import SUFFIXES, stem
from dpcenet.volumes.label_names import MOST_VALUE
from dpcenet.volumes.mask_files import MaskFile, OrganMasks, together

IMAGE, LABEL = "image_", "label_"


def find_cases(folder: Path, spec: DatasetSpec | None = None) -> SourceFolder:
    """Find the cases of a data set.

    Args:
        folder: where they lie.
        spec: the data set. By default the layout is recognised: a dataset.json of nnU-Net or the
            Decathlon, or any tree of scans.

    Raises:
        DatasetError: the folder is missing, or holds no scan.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; give one that holds scans")
    source = (spec or SPEC).find(folder)
    if not source.cases:
        what = f"scan of {spec.title}" if spec is not None and spec is not SPEC else "scan"
        raise DatasetError(
            f"{folder}: no {what} found; expected scans ({', '.join(SUFFIXES)}, or DICOM), such as "
            "image_01.nii.gz with label_01.nii.gz, a dataset.json of nnU-Net or the Decathlon, or "
            "with --dataset a data set as downloaded"
        )
    names = [case.name for case in source.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{folder}: several files for one case: {', '.join(twice)}")
    if odd := [name for name in names if name in ("", ".", "..") or re.search(r"[/\\\0]", name)]:
        found = f"{folder}: a case is called {odd[0]!r}, which is no name of a folder"
        raise DatasetError(one_line(f"{found}; rename it"))
    return source


def find(folder: Path) -> SourceFolder:
    """Cases of a folder whose layout is recognised; none if it holds no scan."""
    if (folder / dataset_json.NAME).is_file():
        return dataset_json.find(folder)
    tree = _Tree.of(folder)
    cases = [
        SourceCase(_name(scan, folder), scan, tree.label_of(scan, place))
        for place in tree.places.values()
        for scan in place.scans
    ]
    tree.check_stray(cases)
    return _numbered(cases, folder)


@dataclass(frozen=True)
class _Tree:
    """A tree of folders: what lies where.

    Attributes:
        places: folder → what lies in it.
        referring: SeriesInstanceUID → the masks that refer to it.
    """

    places: Mapping[Path, Place]
    referring: Mapping[str, list[Path]] = field(default_factory=dict)

    @staticmethod
    def of(folder: Path) -> _Tree:
        places = {place.folder: place for place in walk(folder)}
        referring: defaultdict[str, list[Path]] = defaultdict(list)
        for place in places.values():
            for mask in place.masks:
                if is_dicom(mask):
                    referring[referred_series(mask)].append(mask)
        return _Tree(places, referring)

    def label_of(self, scan: Path | Series, place: Place) -> MaskFile | None:
        """The labels of a scan; None where it has none."""
        parent, name = _called(scan)
        if name.startswith(IMAGE):
            return self._named(parent, LABEL + name.removeprefix(IMAGE))
        if isinstance(scan, Series) and (masks := self.referring.get(scan.uid, [])):
            # Anonymised patients may share their UIDs: what lies close to the series is its own.
            return together([mask for mask in masks if parent in mask.parents] or masks)
        around = self._below(parent if parent in self.places else place.folder)
        if sum(len(each.scans) for each in around) > 1:
            return None
        home = around[0]
        folders = [each.folder for each in around[1:] if each.masks and not each.scans]
        files = [mask for mask in home.masks if not is_dicom(mask) or not referred_series(mask)]
        if not files and len(folders) == 1:
            return self._folder(folders[0])
        return together([*files, *folders]) if files or folders else None

    def check_stray(self, cases: Iterable[SourceCase]) -> None:
        """Refuse `label_NAME` beside `image_` files without an image of its own."""
        used = {case.label for case in cases}
        for place in self.places.values():
            if not any(_called(scan)[1].startswith(IMAGE) for scan in place.scans):
                continue
            stray = [m for m in place.masks if m.name.startswith(LABEL) and m not in used]
            if stray:
                names = ", ".join(stem(mask).removeprefix(LABEL) for mask in stray)
                raise DatasetError(f"{place.folder}: label without image: {names}")

    def _named(self, parent: Path, name: str) -> MaskFile | None:
        """The file or folder of that name."""
        masks = self.places[parent].masks if parent in self.places else ()
        found = [mask for mask in masks if _same_name(stem(mask), name)]
        if len(found) > 1:
            raise DatasetError(f"{parent}: one name with several endings: {name}; keep one file")
        if not found and parent / name in self.places:
            return self._folder(parent / name)
        return found[0] if found else None

    def _below(self, folder: Path) -> list[Place]:
        """What lies in a folder and directly below it, the folder first."""
        home = self.places[folder]
        return [home, *(each for each in self.places.values() if each.folder.parent == folder)]

    def _folder(self, folder: Path) -> MaskFile | None:
        """The masks of a folder."""
        masks = self.places[folder].masks
        if any(map(is_dicom, masks)):
            return folder
        return together(masks) if masks else None


def _same_name(one: str, other: str) -> bool:
    """Whether people read one name: macOS may store "ü" as two characters, others as one."""
    return normalize("NFC", one) == normalize("NFC", other)


def _called(scan: Path | Series) -> tuple[Path, str]:
    """The folder that a scan lies in, and its name there."""
    if isinstance(scan, Series):
        return scan.folder.parent, scan.folder.name
    return scan.parent, stem(scan)


def _name(scan: Path | Series, root: Path) -> str:
    """The name of a case: its path below the folder, in one word."""
    if isinstance(scan, Path):
        parts = [*scan.relative_to(root).parts[:-1], stem(scan).removeprefix(IMAGE)]
        return "_".join(parts)
    folders = list(scan.folder.relative_to(root).parts)
    alone = scan.name == plain(scan.folder.resolve().name)
    if not folders or not alone:
        folders = [*folders, scan.name]
    return "_".join([*folders[:-1], folders[-1].removeprefix(IMAGE)])


def _numbered(cases: list[SourceCase], folder: Path) -> SourceFolder:
    """The cases, with one value for each organ's name where organs have files of their own."""
    named = [
        OrganMasks(case.label.files, tuple(map(stem, case.label.files)))
        for case in cases
        if isinstance(case.label, OrganMasks) and not any(map(is_dicom, case.label.files))
    ]
    names = sorted({name for masks in named for name in masks.names})
    if len(names) > MOST_VALUE:
        raise DatasetError(f"{folder}: {len(names)} organs; at most {MOST_VALUE} can be told apart")
    values = {name: value for value, name in enumerate(names, start=1)}

    def numbered(label: MaskFile | None) -> MaskFile | None:
        files = label.files if isinstance(label, OrganMasks) else () if label is None else (label,)
        if not files or not {stem(file) for file in files} <= set(values):
            return label
        organs = tuple(stem(file) for file in files)
        return OrganMasks(files, organs, tuple(values[organ] for organ in organs))

    found = tuple(replace(case, label=numbered(case.label)) for case in cases)
    return SourceFolder(found, {value: name for name, value in values.items()})


SPEC = DatasetSpec(name="folder", title="a folder of scans", find=find)
