"""What a task file says of itself, checked before anything is made of it.

A right checksum shows that a file is as it was written, not that what was written makes sense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dpcenet.errors import TaskError, one_line
from dpcenet.system.device import Precision
from dpcenet.system.validated import validated
from dpcenet.system.words import counted
from dpcenet.volumes.preprocess import MAX_PREPARED_BYTES, Preprocessing
from dpcenet.volumes.scan_file import Code

_AGAIN = "create the task again"
_Spacing = Annotated[float, Field(ge=1e-3, le=1e3)]
_Value = Annotated[int, Field(ge=1, le=255)]
_Name = Annotated[str, Field(max_length=200)]
_Row = Annotated[int, Field(ge=0)]
_Half = Annotated[float, Field(gt=0, le=1e5)]


@dataclass(frozen=True)
class TaskNetwork:
    """The network that a task was made with."""

    method: str
    sha256: str


@dataclass(frozen=True)
class TaskScan:
    """One labelled scan.

    Attributes:
        digest: of what its features were made from.
        slices: how many.
        spacing: along z, y, x in mm.
        closeups: label value, slice, half side in pixels, row of each window; None with images.
    """

    digest: str
    slices: Annotated[int, Field(ge=1)]
    spacing: tuple[_Spacing, _Spacing, _Spacing]
    closeups: tuple[tuple[_Value, _Row, _Half, _Row], ...] | None


@dataclass(frozen=True)
class TaskRecord:
    """The facts of a task file."""

    dpcenet: str
    created: str
    note: str
    network: TaskNetwork
    precision: Precision
    preprocessing: Preprocessing
    affine: tuple[tuple[float, float, float, float], ...]
    labels: Annotated[dict[_Value, _Name], Field(min_length=1)]
    scans: Annotated[tuple[TaskScan, ...], Field(min_length=1)]
    codes: dict[_Value, Code] = field(default_factory=dict)


def check_task(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TaskRecord:
    """The facts of a task file whose tensors are what they say.

    Raises:
        TaskError: a fact is missing or wrong, or a tensor does not fit.
    """
    record = validated(TaskRecord, facts, path, error=TaskError, remedy=_AGAIN, extra="ignore")
    affine = np.array(record.affine)
    if affine.shape != (4, 4) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _bad(path, "its affine is none")
    if any(not name.isprintable() for name in record.labels.values()):
        raise _bad(path, "the name of a label holds what cannot be printed")
    for n, scan in enumerate(record.scans):
        fault = _fault_of_label(n, scan, record, tensors) or (
            _fault_of_images(n, tensors)
            if scan.closeups is None
            else _fault_of_features(n, scan, tensors)
        )
        if fault:
            raise _bad(path, f"labelled scan {n + 1}: {fault}")
    return record


def _bad(path: Path, fault: str) -> TaskError:
    return TaskError(one_line(f"{path}: {fault}; {_AGAIN}"))


def _fault_of_label(
    n: int, scan: TaskScan, record: TaskRecord, tensors: Mapping[str, Tensor]
) -> str:
    size = record.preprocessing.size
    if scan.slices * size * size * 4 > MAX_PREPARED_BYTES:
        return f"{counted(scan.slices, 'slice')} of {size} x {size}: too many"
    label = tensors.get(f"{n}.label")
    wanted = (scan.slices, size, size)
    if label is None or label.dtype != torch.uint8 or tuple(label.shape) != wanted:
        return f"its labels are not {wanted} whole numbers"
    present = set(torch.unique(label).tolist())
    missing = sorted(set(record.labels) - present) if len(record.scans) == 1 else []
    return f"label {missing[0]} is nowhere in it" if missing else ""


def _fault_of_images(n: int, tensors: Mapping[str, Tensor]) -> str:
    images, label = tensors.get(f"{n}.images"), tensors[f"{n}.label"]
    wanted = (len(label), 1, *label.shape[1:])
    if images is None or images.dtype != torch.float32 or tuple(images.shape) != wanted:
        return f"its images are not {wanted} numbers"
    return "" if bool(torch.isfinite(images).all()) else "its images hold what is no number"


def _fault_of_features(n: int, scan: TaskScan, tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with the features of its slices and windows; "" where nothing is."""
    assert scan.closeups is not None
    slices, windows = (_under(f"{n}.{part}.", tensors) for part in ("slices", "closeups"))
    if not slices or any(len(each) != scan.slices for each in slices.values()):
        return f"it has no features of its {counted(scan.slices, 'slice')}"
    if windows and {k: v.shape[1:] for k, v in windows.items()} != {
        k: v.shape[1:] for k, v in slices.items()
    }:
        return "its windows have other features than its slices"
    rows = {len(each) for each in windows.values()} or {0}
    last = max((row for *_, row in scan.closeups), default=-1)
    if len(rows) > 1 or last >= min(rows) or any(z >= scan.slices for _, z, *_ in scan.closeups):
        return "its windows are not those that it names"
    every = [*slices.values(), *windows.values()]
    if any(each.ndim != 4 or not each.is_floating_point() for each in every):
        return "its features are no maps"
    return "" if all(bool(torch.isfinite(e).all()) for e in every) else "its features hold NaN"


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith(prefix) and tensors[name].ndim]
    return {name.removeprefix(prefix): tensors[name] for name in names}
