"""Masks of a scan on disk, and their labels as the page shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import (
    Algorithm,
    ScanFile,
    Volume,
    __version__,
    check_mask,
    is_corrected,
    is_foreign,
    open_mask,
    write_labels,
    write_mask,
)
from dpcenet.app.project import Label, Scan
from dpcenet.app.shown_scan import Facts


def is_result(mask: Path) -> bool:
    """Whether a mask lies there as `dpcenet segment` wrote it."""
    return mask.is_file() and not is_foreign(mask) and not is_corrected(mask)


def read_labels(path: Path, facts: Facts) -> npt.NDArray[np.uint8]:
    """Labels of a file on the scan's grid, (Z, Y, X) as shown.

    Raises:
        VolumeError: it lies on another grid, or holds no labels.
    """
    grid = facts.source_grid
    blank = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.matrix)
    mask = open_mask(path, ScanFile(blank, grid))
    if not mask.data.any():
        return np.zeros(facts.shape, np.uint8)
    data = check_mask(mask, blank, path).astype(np.uint8)
    return np.ascontiguousarray(facts.orient.apply(Volume(data, blank.affine)).data)


def write_shown(
    labels: npt.NDArray[np.uint8], path: Path, scan: Scan, facts: Facts, names: list[Label]
) -> None:
    """Write labels (Z, Y, X) as shown into a mask in the format and geometry of the scan.

    Raises:
        VolumeError: they cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = facts.orient.invert(labels)
    if path.suffix.lower() != ".dcm":
        write_mask(stored, path, facts.source_grid)
        return
    called = {label.value: label.name for label in names if (labels == label.value).any()}
    write_labels(stored, path, scan.query.read(), called, Algorithm(__version__, "a person"))
