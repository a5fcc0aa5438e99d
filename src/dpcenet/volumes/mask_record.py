"""What was done, beside what was done: MASK.json says from what a mask was made.

It is written twice: before the mask, to say whose the file will be, and after it, to say that it is
finished. A query whose record has the same key is not segmented again. A file without a record is
somebody else's, and one that is no more what was written was corrected: neither is written over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpcenet.system.files import file_hash, hash_of, read_json, write_json

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
    if record.get("key") != key or "facts" not in record:
        return None
    there = all((mask.parent / name).is_file() for name in record["outputs"])
    facts: dict[str, Any] = record["facts"]
    return facts if there else None


def is_foreign(mask: Path) -> bool:
    """Whether a file lies there that this program did not write."""
    return mask.exists() and not read_record(mask)


def is_corrected(mask: Path) -> bool:
    """Whether a finished mask was changed since."""
    written = read_record(mask).get("sha256")
    return written is not None and mask.is_file() and file_hash(mask) != written


def announce(mask: Path) -> None:
    """Say that a mask is about to be written; it does not count as finished."""
    write_json(record_path(mask), {"format": FORMAT, "outputs": [mask.name]})


def withdraw(mask: Path) -> None:
    """Take back what `announce` said, where nothing was written."""
    if not mask.exists():
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


def without_results(files: Sequence[Path]) -> list[Path]:
    """The files that no record beside one of them names as written by an earlier run."""
    written = {path for file in files for path in outputs_named_in(file)}
    return [file for file in files if file not in written]


def read_record(mask: Path) -> dict[str, Any]:
    """What is recorded of a mask; empty where there is no record that can be read."""
    try:
        record = read_json(record_path(mask))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}
