"""A raw data set for nnU-Net: imagesTr/NAME_0000.nii.gz, labelsTr/NAME.nii.gz, dataset.json.

Source: nnU-Net v2, documentation/dataset_format.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.system.files import write_json
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import SourceGrid

CHANNELS = {"ct": "CT", "mr": "MRI"}
"""Modality → nnU-Net's name of the channel: only "CT" is normalised by fixed intensities."""


def case_name(name: str) -> str:
    """The name of a scan as nnU-Net's files can have it; of a path the folders go along."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name.replace("/", "__"))


def write_case(
    folder: Path,
    name: str,
    image: npt.NDArray[Any],
    labels: npt.NDArray[np.integer],
    values: Sequence[int],
    grid: SourceGrid,
) -> None:
    """Write a scan and its labels.

    Args:
        folder: of the data set.
        name: of the scan; see `case_name`.
        image: (Z, Y, X) in the array order of the scan's file.
        labels: (Z, Y, X) on the same grid.
        values: of the data set's labels; they become 1, 2, …, and every other value becomes 0.
        grid: of the scan.
    """
    images, truths = folder / "imagesTr", folder / "labelsTr"
    for each in (images, truths):
        each.mkdir(parents=True, exist_ok=True)
    numbered = np.zeros(labels.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        numbered[labels == value] = number
    write_nifti(np.asarray(image), images / f"{name}_0000.nii.gz", grid)
    write_nifti(numbered, truths / f"{name}.nii.gz", grid)


def write_dataset(
    folder: Path, names: Sequence[str], count: int, modalities: Iterable[str]
) -> None:
    """Write dataset.json.

    Args:
        folder: of the data set.
        names: of the labels, in the order of the values that `write_case` was given.
        count: of the cases.
        modalities: of the scans, "ct" or "mr"; where they differ, no fixed intensities are used.
    """
    kinds = set(modalities)
    channel = CHANNELS.get(kinds.pop(), "MRI") if len(kinds) == 1 else "MRI"
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": channel},
            "labels": {"background": 0, **{name: n for n, name in enumerate(names, start=1)}},
            "numTraining": count,
            "file_ending": ".nii.gz",
        },
    )
