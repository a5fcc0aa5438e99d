"""dataset.json of nnU-Net (versions 1 and 2) and of the Decathlon: cases, labels, modality.

Version 2 names channels and gives each label its value; its scans are found by their folders.
Version 1 and the Decathlon name modalities, give each value its label, and list the scans.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpcenet.data.datasets.spec import SourceCase, SourceFolder, modality_of
from dpcenet.errors import DatasetError
from dpcenet.system.files import read_json
from dpcenet.volumes.io import SUFFIXES, stem

NAME = "dataset.json"
IGNORE = "ignore"
"""nnU-Net's name of the label of voxels that nobody labelled."""
_CHANNEL = "_0000"
"""At the end of a scan's name in nnU-Net's layouts: the first channel."""
_LOG = logging.getLogger(__name__)


def find(folder: Path) -> SourceFolder:
    """The scans of a data set with a dataset.json, those for testing without labels.

    Regions that overlap (nnU-Net) become the parts that they are made of. Voxels of the label
    "ignore" count as not labelled.

    Raises:
        DatasetError: dataset.json is missing or of another kind, or the scans have channels.
    """
    path = folder / NAME
    try:
        facts = read_json(path, error=DatasetError)
        channels = facts["channel_names"] if "channel_names" in facts else facts["modality"]
        modality = modality_of(dict(channels), path)
        labels, ignored = _labels(facts["labels"])
        cases = list(_listed(folder, facts)) or list(_in_folders(folder))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a dataset.json of nnU-Net or the Decathlon ({error!r}); it needs "
            "channel_names or modality, and labels"
        ) from error
    values = None
    if ignored:
        _LOG.warning("%s: voxels of the label %r count as not labelled", path, IGNORE)
        values = {value: value for value in labels} | dict.fromkeys(ignored, 0)
    made = (SourceCase(name, image, label, values) for name, image, label in cases)
    return SourceFolder(tuple(sorted(made, key=lambda case: case.name)), labels, modality)


def _labels(declared: Mapping[str, Any]) -> tuple[dict[int, str], list[int]]:
    """Value → name but for the background, and the values that are to be ignored."""
    regions: dict[str, list[int]] = {}
    for key, value in declared.items():
        if isinstance(value, str):  # version 1: value → name
            regions[value] = [int(key)]
        else:
            regions[key] = [int(each) for each in (value if isinstance(value, list) else [value])]
    ignored = regions.pop(IGNORE, [])
    names: dict[int, str] = {}
    for name, values in sorted(regions.items(), key=lambda item: len(item[1])):  # smallest first
        for value in values:
            names.setdefault(value, name if len(values) == 1 else f"{name}, part {value}")
    return {value: names[value] for value in sorted(names) if value}, ignored


def _listed(folder: Path, facts: Mapping[str, Any]) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, scan and labels of each case that dataset.json lists."""
    for name, case in facts.get("dataset", {}).items():  # version 2, where the layout is free
        (image,) = case["images"]
        yield name, folder / image, folder / case["label"]
    if "channel_names" in facts:
        return
    for pair in facts["training"]:
        image = _on_disk(folder / pair["image"])
        yield _case_name(image), image, folder / pair["label"]
    for entry in facts.get("test", []):
        image = _on_disk(folder / (entry["image"] if isinstance(entry, dict) else entry))
        if image.is_file():
            yield _case_name(image), image, None


def _on_disk(listed: Path) -> Path:
    """A scan as it is listed, or with the channel in its name, which version 1 leaves out."""
    suffix = listed.name[len(stem(listed)) :]
    with_channel = listed.with_name(f"{stem(listed)}{_CHANNEL}{suffix}")
    return with_channel if not listed.exists() and with_channel.exists() else listed


def _in_folders(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, scan and labels of each case in imagesTr, labelsTr and imagesTs."""
    truth = {stem(file): file for file in _scans(folder / "labelsTr")}
    named = [
        (part, _case_name(file), file)
        for part in ("imagesTr", "imagesTs")
        for file in _scans(folder / part)
    ]
    if stray := sorted(set(truth) - {name for _, name, _ in named}):
        raise DatasetError(f"{folder}: label without image: {', '.join(stray)}")
    for part, name, file in named:
        yield name, file, truth.get(name) if part == "imagesTr" else None


def _case_name(image: Path) -> str:
    return stem(image).removesuffix(_CHANNEL)


def _scans(folder: Path) -> list[Path]:
    """Files with a known ending, in order; hidden ones are left out."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path
        for path in files
        if path.name.endswith(tuple(SUFFIXES)) and not path.name.startswith(".")
    ]
