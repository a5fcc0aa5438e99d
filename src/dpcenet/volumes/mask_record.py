"""What was done, beside what was done: MASK.json says from what a mask was made.

It is written twice: before the mask, to say whose the file will be, and after it, to say that it is
finished. A query whose record has the same key is not segmented again. A file without a record is
somebody else's, and one that is no more what was written was corrected: neither is written over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpcenet.errors import ConfigError
from dpcenet.system.files import (
    file_hash,
    hash_of,
    note_damaged,
    read_json,
    set_aside,
    write_json,
)

FORMAT = "dpcenet segmentation 1"


def record_path(mask: Path) -> Path:
    """Where the record of a mask lies."""
    return mask.with_name(f"{mask.name}.json")


def key_of(inputs: Mapping[str, Any]) -> str:
    """What must be the same for a mask to be the same: scan, support, network, options."""
    return hash_of(inputs)


def finished(mask: Path, key: str) -> dict[str, Any] | None:
    """The record of a mask that was made from the same inputs and lies there whole, or None."""
    record = read_record(mask)
    if record.get("key") != key or not isinstance(record.get("facts"), dict):
        return None
    there = all((mask.parent / name).is_file() for name in record["outputs"])
    facts: dict[str, Any] = record["facts"]
    return facts if there else None


def set_damaged_aside(mask: Path) -> None:
    """Where a record is damaged nobody knows whose the mask is: both get other names, with a note.

    So the query is segmented again, and a correction by hand is not lost.
    """
    path = record_path(mask)
    if not path.is_file():
        return
    try:
        read_json(path, remedy="it is segmented again, and the old mask kept beside the new one")
    except ConfigError as error:
        if mask.is_file():
            set_aside(mask)
        note_damaged(path, error)


def is_foreign(mask: Path) -> bool:
    """Whether a file lies there that this program did not write."""
    return mask.exists() and not read_record(mask)


def is_corrected(mask: Path) -> bool:
    """Whether a finished mask was changed since."""
    written = read_record(mask).get("sha256")
    return written is not None and mask.is_file() and file_hash(mask) != written


def is_written(mask: Path, file: Path) -> bool:
    """Whether a file has the bytes that were written as the mask."""
    written = read_record(mask).get("sha256")
    return written is not None and file.is_file() and file_hash(file) == written


def announce(mask: Path) -> None:
    """Say that a mask is about to be written; it does not count as finished.

    What an older record names stays named, so that it is not taken for a scan.
    """
    names = dict.fromkeys([mask.name, *(path.name for path in outputs_named_in(mask))])
    write_json(record_path(mask), {"format": FORMAT, "outputs": list(names)})


def withdraw(mask: Path) -> None:
    """Take back what `announce` said, where nothing was written."""
    if not any(path.exists() for path in (mask, *outputs_named_in(mask))):
        record_path(mask).unlink(missing_ok=True)


def drop_outputs(mask: Path, kept: Sequence[Path]) -> None:
    """Delete what an earlier call wrote with a mask, and this one does not: it would be stale."""
    stale = [path for path in outputs_named_in(mask) if path not in kept]
    if mask in stale and is_corrected(mask):
        return
    for path in stale:
        path.unlink(missing_ok=True)
    if mask in stale:
        record_path(mask).unlink(missing_ok=True)


def write_record(
    mask: Path, inputs: Mapping[str, Any], outputs: Sequence[Path], facts: Mapping[str, Any]
) -> None:
    """Say that the outputs of a mask are whole.

    Args:
        mask: the first of the outputs.
        inputs: what they were made from.
        outputs: files in the folder of the mask, or below it.
        facts: what is worth knowing of them.
    """
    names = [path.relative_to(mask.parent).as_posix() for path in outputs]
    head = {
        "format": FORMAT,
        "key": key_of(inputs),
        "outputs": names,
        "sha256": file_hash(mask),
    }
    write_json(record_path(mask), {**head, "inputs": dict(inputs), "facts": dict(facts)})


def outputs_named_in(mask: Path) -> list[Path]:
    """What an earlier run wrote, if the file is a mask of it."""
    return [mask.parent / name for name in read_record(mask).get("outputs", [])]


def results_in(folder: Path, unread: Sequence[Path] = ()) -> set[Path]:
    """The files of a folder that a record there names as written by an earlier run.

    Args:
        folder: where.
        unread: files that are not to be opened.
    """
    records = [path for path in folder.glob("*.json") if path not in unread and path.is_file()]
    masks = [path.with_name(path.name.removesuffix(".json")) for path in records]
    return {path for mask in masks for path in (mask, *outputs_named_in(mask)) if read_record(mask)}


def without_results(files: Sequence[Path], unread: Sequence[Path] = ()) -> list[Path]:
    """The files that no record beside them names as written by an earlier run; see `results_in`."""
    folders = {file.parent for file in files}
    written = {path for folder in folders for path in results_in(folder, unread)}
    return [file for file in files if file not in written]


def read_record(mask: Path) -> dict[str, Any]:
    """What is recorded of a mask; empty where there is no record that can be read."""
    path = record_path(mask)
    if not path.is_file():
        return {}
    try:
        record = read_json(path, {"format": str, "outputs": list})
    except ConfigError:
        return {}
    plain = all(isinstance(n, str) and _is_below(Path(n)) for n in record["outputs"])
    return record if plain and record["format"] == FORMAT else {}


def _is_below(path: Path) -> bool:
    """Whether a path stays in the folder that it is relative to."""
    return not path.is_absolute() and ".." not in path.parts
