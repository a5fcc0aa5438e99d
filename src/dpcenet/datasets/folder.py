"""Folders of scans: pairs of image and label files, or the raw layout of nnU-Net."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import DatasetError
from dpcenet.volumes.io import SUFFIXES, stem

IMAGE, LABEL = "image_", "label_"


@dataclass(frozen=True)
class SourceCase:
    """Files of one scan before it is prepared."""

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Source:
    """A folder of scans, as found.

    Attributes:
        cases: in the order of their names.
        labels: value → name where the folder says so, else empty.
        modality: "mr" or "ct" where the folder says so, else None.
    """

    cases: tuple[SourceCase, ...]
    labels: dict[int, str]
    modality: str | None


def find_cases(folder: Path) -> Source:
    """Recognise the layout of a folder.

    Known are nnU-Net's raw layout (dataset.json, imagesTr, labelsTr), and files `image_NAME` with
    `label_NAME` beside them where there is a label. Any other scan is an unlabelled case.

    Raises:
        DatasetError: the folder is missing, or holds no scan.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; give one that holds scans")
    source = _nnunet(folder) if (folder / "dataset.json").is_file() else _pairs(folder)
    if not source.cases:
        raise DatasetError(
            f"{folder}: no scan found; expected files such as image_01.nii.gz and label_01.nii.gz "
            f"(or {', '.join(SUFFIXES)}), or nnU-Net's dataset.json with imagesTr"
        )
    names = [case.name for case in source.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{folder}: several files for one case: {', '.join(twice)}")
    return source


def _scans(folder: Path) -> list[Path]:
    """Files with a known ending, in order; hidden ones are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(tuple(SUFFIXES)) and not path.name.startswith(".")
    )


def _pairs(folder: Path) -> Source:
    files = _scans(folder)
    labels = {stem(path).removeprefix(LABEL): path for path in files if path.name.startswith(LABEL)}
    images = {
        stem(path).removeprefix(IMAGE): path for path in files if not path.name.startswith(LABEL)
    }
    stray = sorted(set(labels) - set(images))
    if stray:
        raise DatasetError(f"{folder}: label without image: {', '.join(stray)}")
    if len(images) + len(labels) < len(files):
        raise DatasetError(f"{folder}: one name with several endings; keep one file for each scan")
    cases = (SourceCase(name, path, labels.get(name)) for name, path in images.items())
    return Source(tuple(cases), {}, None)


def _nnunet(folder: Path) -> Source:
    """imagesTr/NAME_0000 with labelsTr/NAME, and imagesTs/NAME_0000 without labels."""
    path = folder / "dataset.json"
    try:
        facts = json.loads(path.read_text())
        channels = {int(k): str(v) for k, v in facts["channel_names"].items()}
        labels = {int(v): str(k) for k, v in facts["labels"].items() if int(v) != 0}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not nnU-Net's dataset.json ({error!r}); it needs channel_names and labels"
        ) from error
    if len(channels) != 1:
        raise DatasetError(f"{path}: {len(channels)} channels; dpcenet reads scans of one channel")
    truth = {stem(file): file for file in _scans(folder / "labelsTr")}
    cases = []
    for part in ("imagesTr", "imagesTs"):
        for file in _scans(folder / part):
            name = stem(file).removesuffix("_0000")
            cases.append(SourceCase(name, file, truth.get(name) if part == "imagesTr" else None))
    modality = "ct" if channels[0].upper() == "CT" else "mr"
    return Source(tuple(cases), labels, modality)
