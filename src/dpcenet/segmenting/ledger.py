"""What was done, beside what was done: MASK.json says from what a mask was made.

It is written last, so a mask without it is not finished. A query whose record has the same key is
not segmented again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpcenet.files import hash_of, read_json, write_json

FORMAT = "dpcenet segmentation 1"


def record_path(mask: Path) -> Path:
    """Where the record of a mask lies."""
    return mask.with_name(f"{mask.name}.json")


def key_of(inputs: Mapping[str, Any]) -> str:
    """What must be the same for a mask to be the same: scan, support, network, options."""
    return hash_of(inputs)


def finished(mask: Path, key: str) -> dict[str, Any] | None:
    """The record of a mask that was made from the same inputs and lies there whole, or None."""
    record = _record(mask)
    if record.get("key") != key or "facts" not in record:
        return None
    there = all((mask.parent / name).is_file() for name in record["outputs"])
    facts: dict[str, Any] = record["facts"]
    return facts if there else None


def write_record(
    mask: Path, inputs: Mapping[str, Any], outputs: Sequence[Path], facts: Mapping[str, Any]
) -> None:
    """Say that the outputs of a mask are whole.

    Args:
        mask: the first of the outputs.
        inputs: what they were made from.
        outputs: files in the folder of the mask.
        facts: what is worth knowing of them.
    """
    names = [path.name for path in outputs]
    head = {"format": FORMAT, "key": key_of(inputs), "outputs": names}
    write_json(record_path(mask), {**head, "inputs": dict(inputs), "facts": dict(facts)})


def outputs_named_in(mask: Path) -> list[Path]:
    """What an earlier run wrote, if the file is a mask of it."""
    return [mask.parent / name for name in _record(mask).get("outputs", [])]


def _record(mask: Path) -> dict[str, Any]:
    """The record of a mask; empty where there is none that can be read."""
    try:
        record = read_json(record_path(mask))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}
