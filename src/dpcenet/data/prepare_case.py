"""Prepare one case: its arrays, its pseudo-labels, and case.json, which is written last.

A case without case.json is prepared again; one with unchanged sources and rules is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.data.datasets.spec import RawCase, SourceCase, check_case, read_pair
from dpcenet.data.pseudo_labels.superpixels import superpixels
from dpcenet.data.pseudo_labels.supervoxels import supervoxels
from dpcenet.data.store import FORMAT
from dpcenet.errors import ConfigError
from dpcenet.system.files import (
    file_hash,
    hash_of,
    read_json,
    read_or_set_aside,
    write_atomically,
    write_json,
)
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import Series
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.io import files_of
from dpcenet.volumes.mask_files import MaskFile, OrganMasks
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels
from dpcenet.volumes.scan_file import AS_IT_IS


@dataclass(frozen=True)
class Rules:
    """How every scan of a data set is prepared.

    Attributes:
        preprocessing: grid and intensities.
        supervoxel_size: voxels of the smallest supervoxel (5000 abdominal, 1000 cardiac).
        superpixel_size: pixels of the smallest superpixel.
        pixel_step: pixels of the scan from one prepared pixel to the next; None where
            `preprocessing` says the spacing in mm.
    """

    preprocessing: Preprocessing
    supervoxel_size: int = 5000
    superpixel_size: int = 400
    pixel_step: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object, without the values that are None."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def of(self, volume: Volume) -> Preprocessing:
        """The preprocessing of one scan: a step in pixels becomes a spacing in mm."""
        if self.pixel_step is None:
            return self.preprocessing
        oriented, _ = orient(volume)
        return replace(self.preprocessing, spacing_mm=self.pixel_step * oriented.spacing[1])


@dataclass(frozen=True)
class Recipe:
    """What a process needs to prepare a case.

    Attributes:
        rules: of the data set.
        read: its reader.
        known: label values that may occur; empty where any may.
    """

    rules: Rules
    read: Callable[[SourceCase], RawCase] = read_pair
    known: tuple[int, ...] = ()


def prepare_case(case: SourceCase, folder: Path, recipe: Recipe) -> None:
    """Prepare one case, unless it was prepared from the same files by the same rules.

    Raises:
        InputError: a file of the case cannot be used.
        OSError: the disk is full, or cannot be written.
    """
    sources = {"image": source_hash(case.image)}
    if case.label is not None:
        sources["label"] = source_hash(case.label)
    wanted = {"format": FORMAT, "sources": sources, "rules": recipe.rules.to_json()}
    if case.options != AS_IT_IS or case.values is not None:
        wanted["reading"] = {"options": asdict(case.options), "values": str(case.values)}
    identity = hash_of(wanted)
    done = folder / "case.json"
    before = read_or_set_aside(done, {"identity": str, "arrays": dict})
    if before is not None and before["identity"] == identity and intact(folder):
        return
    done.unlink(missing_ok=True)
    for left_over in folder.glob(".partial-*"):  # of a run that was killed
        left_over.unlink()
    arrays, facts = _compute(case, recipe)
    for name, array in arrays.items():
        write_atomically(folder / f"{name}.npy", partial(save, array))
    hashes = {name: file_hash(folder / f"{name}.npy") for name in arrays}
    write_json(done, {"identity": identity, **wanted, **facts, "arrays": hashes})


def source_hash(source: MaskFile | Series) -> str:
    """sha256 of a file, of a series, of masks with their names, or of a folder with its names."""
    if isinstance(source, Series):
        return hash_of([[file_hash(file) for file in source.files], source.part])
    if isinstance(source, OrganMasks):
        hashes = [source_hash(file) for file in source.files]
        return hash_of([hashes, source.names, source.values])
    if not source.exists():
        return ""  # reading it says so
    if not source.is_dir():
        read = files_of(source)  # a header and its voxels
        return file_hash(source) if len(read) == 1 else hash_of([file_hash(file) for file in read])
    files = sorted(file for file in source.rglob("*") if file.is_file())
    return hash_of({str(file.relative_to(source)): file_hash(file) for file in files})


def save(array: npt.NDArray[Any], path: Path) -> None:
    with path.open("wb") as stream:  # np.save would add .npy to a temporary name
        np.save(stream, array, allow_pickle=False)


def intact(folder: Path) -> bool:
    """Whether every array that case.json names is there and unchanged."""
    try:
        arrays = read_json(folder / "case.json", {"arrays": dict})["arrays"]
    except ConfigError:
        return False
    return all(
        (folder / f"{name}.npy").is_file() and file_hash(folder / f"{name}.npy") == digest
        for name, digest in arrays.items()
    )


def _compute(
    case: SourceCase, recipe: Recipe
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays of a case, and the facts for its case.json."""
    rules = recipe.rules
    raw_case = recipe.read(case)
    check_intensities(raw_case.scan.volume, str(case.image))
    check_case(raw_case, case, recipe.known)
    prepared, record = preprocess(raw_case.scan, rules.of(raw_case.scan.volume))
    arrays: dict[str, npt.NDArray[Any]] = {"image": prepared.image}
    if raw_case.labels is not None:
        arrays["label"] = preprocess_labels(raw_case.labels, record)
    # Segments are found in the intensities before normalisation, whose scale is absolute.
    raw = record.denormalise(prepared.image)
    arrays["supervoxels"] = supervoxels(
        raw, prepared.spacing, min_size=rules.supervoxel_size
    ).astype(np.uint16)
    arrays["superpixels"] = superpixels(
        raw, rules.preprocessing.modality, min_size=rules.superpixel_size
    ).astype(np.uint16)
    facts = {
        "name": case.name,
        "shape": list(prepared.image.shape),
        "spacing": list(prepared.spacing),
        "record": record.to_json(),
        "labels": {str(value): name for value, name in raw_case.names.items()},
    }
    return arrays, facts
