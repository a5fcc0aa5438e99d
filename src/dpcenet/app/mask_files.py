"""Masks of a scan on disk: what made them, and their labels as the page shows them.

`dpcenet segment` writes a record beside each of its masks. Beside one that was made on the page,
MASK.json says how: drawn, filled in from what was drawn, or taken from a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import (
    Algorithm,
    ScanFile,
    Volume,
    __version__,
    background_doubts,
    check_mask,
    distinct_names,
    given_names,
    is_corrected,
    is_foreign,
    is_written,
    one_line,
    open_labelled,
    plain_name,
    read_or_set_aside,
    record_path,
    table_by_names,
    write_atomically,
    write_json,
    write_mask,
    write_somehow,
)
from dpcenet.app.project import Label, Scan, now
from dpcenet.app.shown_scan import Facts

Origin = Literal["drawn", "filled", "file"]
"""drawn: by a person; filled: drawn on some slices, the network made the rest; file: nobody knows,
as of a mask that no page wrote."""
_FORMAT = "dpcenet mask of a person 1"


def state_of(scan: Scan) -> str:
    """What there is of a scan's labels.

    Returns:
        labelled: a whole mask of a person; corrected: a result that a person changed; segmented: a
        result as the network left it; drawn: some slices; none.
    """
    if scan.mask.is_file():
        if is_foreign(scan.mask):
            return "labelled"
        return "corrected" if is_corrected(scan.mask) else "segmented"
    return "drawn" if scan.drawing.is_file() else "none"


def remember_origin(scan: Scan, origin: Origin, network: str = "") -> None:
    """Say how a person's mask is made, before it is written; a changed result stays a result.

    Args:
        scan: whose mask.
        origin: how.
        network: sha256 of the weights that took part; "" where none did.
    """
    if scan.mask.is_file() and not is_foreign(scan.mask):
        return
    record = {"format": _FORMAT, "made": origin, "network": network}
    write_json(record_path(scan.mask), record)


def origin_of(scan: Scan) -> Origin:
    """How the mask of a labelled scan was made."""
    made = _record(scan).get("made")
    return made if made in ("drawn", "filled") else "file"


def maker_of(scan: Scan, changed: bool = False) -> Algorithm:
    """What made the mask of a scan, in DICOM's words.

    Args:
        scan: whose mask.
        changed: it is about to be written with a person's changes.
    """
    record = _record(scan)
    if scan.mask.is_file() and not is_foreign(scan.mask):  # a result
        inputs = record.get("inputs", {})
        by_both = changed or is_corrected(scan.mask)
        return Algorithm(
            inputs.get("dpcenet", __version__),
            _model(inputs.get("network", "")),
            "SEMIAUTOMATIC" if by_both else "AUTOMATIC",
        )
    if origin_of(scan) == "drawn":
        return Algorithm(__version__, "", "MANUAL")
    if origin_of(scan) == "filled":
        return Algorithm(__version__, _model(record.get("network", "")), "SEMIAUTOMATIC")
    return Algorithm("unknown", "", "SEMIAUTOMATIC", "unknown, taken from a file")


def _model(network: str) -> str:
    return f"network {network[:12]}" if network else ""


def _record(scan: Scan) -> dict[str, Any]:
    """What is written beside a mask, or was before no SEG could be made of it."""
    for mask in (scan.mask, scan.root / "masks" / scan.query.mask_name):
        if record_path(mask).is_file():
            return read_or_set_aside(record_path(mask)) or {}
    return {}


def is_result(mask: Path) -> bool:
    """Whether a mask lies there as `dpcenet segment` wrote it."""
    return mask.is_file() and not is_foreign(mask) and not is_corrected(mask)


def keep_result(scan: Scan) -> None:
    """Keep a result as the network left it, before a person's changes are written over it."""
    if is_result(scan.mask):
        scan.cache.mkdir(parents=True, exist_ok=True)
        write_atomically(_kept_result(scan), lambda part: shutil.copyfile(scan.mask, part))


def restore_result(scan: Scan, labels: npt.NDArray[np.uint8], facts: Facts) -> bool:
    """Put a result back where a person's changes were all taken back: it is no correction then.

    Args:
        scan: whose mask.
        labels: (Z, Y, X) as shown.
        facts: of the scan.

    Returns:
        whether the file on disk holds these labels, as the network left it.
    """
    kept = scan.mask if is_result(scan.mask) else _kept_result(scan)
    if not kept.is_file() or not is_written(scan.mask, kept):
        return False
    if not np.array_equal(read_labels(kept, facts), labels):
        return False
    if kept != scan.mask:
        write_atomically(scan.mask, lambda part: shutil.copyfile(kept, part))
    return True


def _kept_result(scan: Scan) -> Path:
    return scan.cache / f"result{scan.mask.name[len(scan.query.name.name) :]}"


@dataclass(frozen=True)
class NamedLabels:
    """Labels of a file.

    Attributes:
        shown: (Z, Y, X) as shown.
        names: of the values that occur, where the file has them.
        notes: what was done to them, or is unlikely, a line each.
    """

    shown: npt.NDArray[np.uint8]
    names: Mapping[int, str]
    notes: tuple[str, ...] = ()

    def by_name(self, labels: Sequence[Label], path: Path) -> NamedLabels:
        """The same in the values of a project: a label that it knows by name gets its value there.

        Values without a name in the file are those of the project.

        Args:
            labels: of the project.
            path: of the file, for the error.

        Raises:
            VolumeError: there are too many labels.
        """
        known = given_names({label.value: label.name for label in labels})
        values = {plain_name(name): value for value, name in known.items()}
        nameless = {int(value) for value in np.unique(self.shown)} - {0, *self.names}
        table = table_by_names(self.names, values, nameless, str(path))
        changed = np.arange(256, dtype=np.uint8)
        changed[list(table)] = list(table.values())
        names = {table[value]: name for value, name in self.names.items()}
        return replace(self, shown=changed[self.shown], names=names)


def read_labels(path: Path, facts: Facts) -> npt.NDArray[np.uint8]:
    """Labels of a file on the scan's grid, (Z, Y, X) as shown.

    Raises:
        VolumeError: it lies on another grid, or holds no labels.
    """
    return read_named(path, facts).shown


def read_named(path: Path, facts: Facts) -> NamedLabels:
    """As `read_labels`, with what the file says of its labels.

    Raises:
        VolumeError: as `read_labels`.
    """
    grid = facts.source_grid
    blank = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.matrix)
    mask = open_labelled(path, ScanFile(blank, grid))
    if not mask.volume.data.any():
        return NamedLabels(np.zeros(facts.shape, np.uint8), {})
    data = check_mask(mask.volume, blank, path).astype(np.uint8)
    shown = np.ascontiguousarray(facts.orient.apply(Volume(data, blank.affine)).data)
    names = given_names(mask.facts.labels.names)
    present = np.unique(shown).tolist() if names else []
    names = distinct_names({v: one_line(name).strip() for v, name in names.items() if v in present})
    return NamedLabels(shown, names, (*mask.facts.notes, *background_doubts(data)))


def write_shown(
    labels: npt.NDArray[np.uint8],
    path: Path,
    scan: Scan,
    facts: Facts,
    names: list[Label],
    maker: Algorithm,
) -> None:
    """Write labels (Z, Y, X) as shown into a mask in the format and geometry of the scan.

    Args:
        labels: as shown.
        path: where; .dcm is a SEG, or .nii.gz beside it where none can be made.
        scan, facts: what the labels belong to.
        names: of the labels, for a SEG.
        maker: what made them, for a SEG.

    Raises:
        VolumeError: they cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = facts.orient.invert(labels)
    if path.suffix.lower() != ".dcm":
        write_mask(stored, path, facts.source_grid)
        return
    called = {label.value: label.name for label in names if (labels == label.value).any()}
    write_somehow(stored, path, scan.query.read(), called, maker)


def take_file(path: Path, scan: Scan, facts: Facts, names: list[Label]) -> None:
    """Make the labels of a file the whole mask of a scan, without a server.

    Raises:
        VolumeError: they lie on another grid.
    """
    labels = read_labels(path, facts)
    remember_origin(scan, "file")
    write_shown(labels, scan.mask, scan, facts, names, maker_of(scan))


def put_aside(scan: Scan, aside: Path) -> None:
    """Move what is on disk of a scan's labels into another folder."""
    stamp = now().replace(":", "")
    masks = [scan.root / "masks" / name for name in scan.query.mask_names]
    files = [*masks, *map(record_path, masks), scan.drawing, scan.drawing_record]
    for path in files:
        if path.is_file():
            target = aside / stamp / path.relative_to(scan.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    (scan.cache / "state.json").unlink(missing_ok=True)
