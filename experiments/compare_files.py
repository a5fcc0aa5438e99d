"""What two files hold, and the first difference between them; for compare_checkouts.py."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import yaml

Array = npt.NDArray[Any]

# What may differ although the results are the same: times, dates, versions, machines, paths, and
# hashes of files in which there are such.
VOLATILE_KEYS = re.compile(
    r"(.*_)?seconds|.*peak_memory_gb|peak_is_of_this_run|energy_joules|created|versions|machine|"
    r"threads|commit|code|data|dpcenet|command|sha256"
)
VOLATILE_TEXT = re.compile(
    r"\d\d\d\d-\d\d-\d\d|\b\d+(\.\d+)? (s|ms|min|GB|MB)\b|\b[0-9a-f]{12,}\b|data:image[^\"']*|"
    r"commit(</dt><dd>| )[0-9a-f]{7,}(-dirty)?"
)
_DICOM_TIMES = re.compile(rb"(DA|TM|DT)..[\d.]*", re.DOTALL)  # value type, length, value
# bfloat16 is no type of NumPy: its bits are compared.
_TENSOR_TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "I32": "i4"}
_TENSOR_TYPES |= {"I16": "i2", "I8": "i1", "U8": "u1", "U16": "u2", "BOOL": "?"}


def first_difference(old: Path, new: Path, roots: Sequence[Path] = ()) -> str:
    """The first difference in what two files hold; empty where there is none.

    Args:
        old, new: files of the same name.
        roots: folders whose names are taken out of texts.
    """
    before, after = contents(old, roots), contents(new, roots)
    for name in before:
        if name not in after:
            return f"{name or 'content'} is missing"
        if difference := _difference(before[name], after[name]):
            return f"{name or 'content'}: {difference}"
    surplus = [name for name in after if name not in before]
    return f"{surplus[0]} is new" if surplus else ""


def contents(path: Path, roots: Sequence[Path] = ()) -> dict[str, Any]:
    """Name → array or value of everything that a file holds, but for what is volatile."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        image = nib.Nifti1Image.from_filename(path)
        header = np.frombuffer(image.header.binaryblock, np.uint8)
        return {"voxels": np.asanyarray(image.dataobj), "affine": image.affine, "header": header}
    if name.endswith(".npy"):
        return {"": np.load(path, allow_pickle=False)}
    if name.endswith(".npz"):
        return dict(np.load(path, allow_pickle=False))
    if name.endswith((".safetensors", ".task")):
        return _tensors(path)
    if name.endswith(".dcm"):
        return {"": np.frombuffer(_DICOM_TIMES.sub(b"", path.read_bytes()), np.uint8)}
    if name.endswith((".json", ".jsonl", ".yaml", ".csv")):
        return dict(_flat(_parsed(path, name)))
    if name.endswith((".md", ".tex", ".html", ".txt")):
        text = path.read_text("utf-8")
        for root in roots:
            text = text.replace(str(root), "")
        lines = VOLATILE_TEXT.sub("", text).splitlines()
        return {f"line {number}": line for number, line in enumerate(lines, start=1)}
    return {"": np.frombuffer(path.read_bytes(), np.uint8)}


def _difference(old: Any, new: Any) -> str:
    """What differs between two values, in words; empty where nothing does."""
    if not isinstance(old, np.ndarray) or not isinstance(new, np.ndarray):
        return "" if repr(old) == repr(new) else f"{_short(old)} → {_short(new)}"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype} {old.shape} → {new.dtype} {new.shape}"
    bits = [np.frombuffer(array.tobytes(), f"V{array.itemsize}") for array in (old, new)]
    count = int((bits[0] != bits[1]).sum())
    if not count:
        return ""
    text = f"{count} of {old.size} values differ"
    if old.dtype.kind not in "biuf":
        return text
    apart = np.abs(new.astype(np.float64) - old.astype(np.float64))
    return f"{text}, by {np.nanmax(apart):.3g} at most"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}…"


def _parsed(path: Path, name: str) -> Any:
    """The lists and mappings of a JSON, JSON Lines, YAML or CSV file."""
    text = path.read_text("utf-8")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    if name.endswith(".csv"):
        return list(csv.DictReader(text.splitlines()))
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The single values of nested lists and mappings by their names, without volatile ones."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if not VOLATILE_KEYS.fullmatch(str(key)):
            yield from _flat(inner, f"{name}/{key}" if name else str(key))


def _tensors(path: Path) -> dict[str, Any]:
    """Tensors and metadata of a safetensors file."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8:start])
    metadata = entries.pop("__metadata__", {})
    metadata["facts"] = json.loads(metadata.get("facts", "{}"))
    found: dict[str, Any] = dict(_flat(metadata))
    for name, entry in sorted(entries.items()):
        first, last = entry["data_offsets"]
        array = np.frombuffer(raw[start + first : start + last], _TENSOR_TYPES[entry["dtype"]])
        found[name] = array.reshape(entry["shape"])
    return found
