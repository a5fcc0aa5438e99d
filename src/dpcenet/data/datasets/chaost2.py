"""CHAOS, T2-SPIR: 20 abdominal MR scans with four organs; "Abd-MRI" of the papers.

As downloaded: MR/<patient>/T2SPIR/DICOM_anon/*.dcm and, name for name, Ground/*.png, whose grey
values are the labels. The pictures have the pixels of the DICOM file of the same name, so each is
put where its file lies; no file order and no flip is guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dpcenet.data.datasets.spec import DatasetSpec, RawCase, SourceCase, SourceFolder, remap
from dpcenet.errors import DatasetError, VolumeError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.dicom.read_series import read_series
from dpcenet.volumes.pictures import natural
from dpcenet.volumes.preprocess import Preprocessing

LABELS = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
GROUPS = {"upper": (1, 4), "lower": (2, 3)}

GREYS = {
    **dict.fromkeys(range(55, 71), 1),
    **dict.fromkeys(range(110, 136), 2),
    **dict.fromkeys(range(175, 201), 3),
    **dict.fromkeys(range(240, 256), 4),
}
"""Grey value → label: 63, 126, 189 and 252, in the ranges that the challenge allows.

Deviates: officially the sorted grey values of a scan are numbered, which renames the organs of a
scan that lacks one.
"""


def find(folder: Path) -> SourceFolder:
    """The T2-SPIR series below a folder.

    Raises:
        DatasetError: a patient is there twice.
    """
    cases: dict[str, SourceCase] = {}
    for series in sorted(folder.rglob("T2SPIR")):
        images, labels = series / "DICOM_anon", series / "Ground"
        if not images.is_dir():
            continue
        patient = series.parent.name
        name = f"{int(patient):02d}" if patient.isdecimal() else patient
        if name in cases:
            raise DatasetError(f"{folder}: patient {name} twice: {cases[name].image} and {images}")
        cases[name] = SourceCase(name, images, labels if labels.is_dir() else None)
    return SourceFolder(tuple(cases[name] for name in sorted(cases)))


def read(case: SourceCase) -> RawCase:
    """Read a DICOM series and its pictures.

    Raises:
        VolumeError: a file cannot be used, or pictures and slices do not belong together.
    """
    scan = read_series(case.image)
    if case.label is None:
        return RawCase(scan, None)
    assert isinstance(case.label, Path)  # `find` gave it
    pictures = _pictures(case.label, scan.files)
    stack = np.stack([_grey(path, scan.volume.data.shape[1:]) for path in pictures])
    greys = Volume(stack, scan.volume.affine)
    return RawCase(scan, remap(greys, GREYS, case.label))


def _pictures(folder: Path, slices: tuple[Path, ...]) -> list[Path]:
    """The picture of each slice: by its name, or by its rank where the names differ."""
    found = (path for path in folder.glob("*.png") if not path.name.startswith("."))
    pictures = sorted(found, key=lambda path: natural(path.name))
    if len(pictures) != len(slices):
        raise VolumeError(
            folder,
            f"{counted(len(pictures), 'label picture')} for {counted(len(slices), 'slice')}",
            "one for each DICOM file",
            "Download the case again.",
        )
    by_name = {path.stem: path for path in pictures}
    if all(path.stem in by_name for path in slices):
        return [by_name[path.stem] for path in slices]
    ordered = sorted(slices, key=lambda path: natural(path.name))
    rank = {path: index for index, path in enumerate(ordered)}
    return [pictures[rank[path]] for path in slices]


def _grey(path: Path, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(path) as picture:
            if picture.size != (shape[1], shape[0]):
                found = f"the picture is {picture.size[1]} x {picture.size[0]}"
                raise VolumeError(
                    path, found, f"the {shape[0]} x {shape[1]} of its slice", "Download it again."
                )
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise VolumeError(
            path, f"cannot be read ({error})", "a grey PNG picture", "Download it again."
        ) from error


SPEC = DatasetSpec(
    name="chaost2",
    title="CHAOS T2-SPIR (Abd-MRI)",
    find=find,
    read=read,
    labels=LABELS,
    preprocessing=Preprocessing.for_mr(spacing_mm=1.25, slice_spacing_mm=7.7, overflow="crop"),
    supervoxel_size=5000,
    folds=(
        ("01", "02", "03", "05"),
        ("08", "10", "13", "15"),
        ("19", "20", "21", "22"),
        ("31", "32", "33", "34"),
        ("36", "37", "38", "39"),
    ),
    groups=GROUPS,
    licence="CC BY-NC-SA 4.0; not to be passed on",
    citation="Kavur et al., CHAOS Challenge, Medical Image Analysis 69 (2021) 101950",
    address="https://chaos.grand-challenge.org",
)
