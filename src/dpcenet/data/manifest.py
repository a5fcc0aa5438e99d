"""manifest.json of a prepared data set: its cases, its rules, and what its labels mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from dpcenet.data.datasets.spec import DatasetSpec
from dpcenet.data.prepare_case import Rules
from dpcenet.data.store import FORMAT
from dpcenet.errors import DatasetError
from dpcenet.system.files import hash_of, read_json, read_or_set_aside, write_json
from dpcenet.volumes.label_names import name_for, plain_name


def write_manifest(
    out: Path, spec: DatasetSpec, rules: Rules, names: Sequence[str], labels: dict[int, str]
) -> None:
    """Write manifest.json from the cases' own files, unless it would not change."""
    facts = {name: read_json(out / "cases" / name / "case.json") for name in names}
    hashes = {name: facts[name]["arrays"] for name in names}
    labels = _common_names(facts, out) | labels
    present = _label_values(out, [name for name in names if "label" in hashes[name]])
    preprocessing = rules.preprocessing
    if rules.pixel_step is not None:  # `segment` needs a spacing in mm, whatever a scan's pixels
        spacing = float(np.median([facts[name]["spacing"][1] for name in names]))
        preprocessing = replace(preprocessing, spacing_mm=spacing)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "modality": rules.preprocessing.modality,
        "preprocessing": asdict(preprocessing),
        "supervoxel_size": rules.supervoxel_size,
        "superpixel_size": rules.superpixel_size,
        "labels": {str(v): name_for(labels, v) for v in sorted(present | set(labels))},
        "cases": hashes,
    }
    if spec.name != "folder":
        manifest["dataset"] = spec.to_json()
    manifest["hash"] = hash_of(manifest)
    path = out / "manifest.json"
    if read_or_set_aside(path) != manifest:
        write_json(path, manifest)


def _common_names(facts: Mapping[str, Any], out: Path) -> dict[int, str]:
    """What the cases' own files call the label values.

    Raises:
        DatasetError: one value has two names.
    """
    found: dict[int, tuple[str, str]] = {}
    for case, of_case in facts.items():
        for value, name in of_case.get("labels", {}).items():
            first, known = found.setdefault(int(value), (case, name))
            if plain_name(known) != plain_name(name):
                raise DatasetError(
                    f"{out}: label {value} is {known!r} in case {first} and {name!r} in case "
                    f"{case}; give a file for each organ, or number them alike"
                )
    return {value: name for value, (_, name) in found.items()}


def _label_values(out: Path, names: Sequence[str]) -> set[int]:
    """Label values that occur in the prepared cases."""
    values: set[int] = set()
    for name in names:
        label = np.load(out / "cases" / name / "label.npy", mmap_mode="r")
        values |= set(np.unique(label).tolist())
    return values - {0}
