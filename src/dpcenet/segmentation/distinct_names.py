"""Names of results that no two scans share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Named(NamedTuple):
    """A scan: the name of its results, the folder in which it lies, and the kind of its file."""

    name: Path
    folder: Path
    kind: str


def distinct(scans: Sequence[Named]) -> list[Path]:
    """A name for each scan; where two are alike, what tells their folders apart goes in front.

    So x/a.nii.gz and y/a.nii.gz give x/a and y/a, and two files of one folder get their kind.
    """
    alike: dict[Path, list[int]] = {}
    for number, scan in enumerate(scans):
        alike.setdefault(scan.name, []).append(number)
    names = [scan.name for scan in scans]
    for same in (numbers for numbers in alike.values() if len(numbers) > 1):
        places = [scans[number].folder.absolute() for number in same]
        common = os.path.commonpath(places)
        for number, place in zip(same, places, strict=True):
            names[number] = place.relative_to(common) / names[number].name
    taken: set[Path] = set()
    for number, name in enumerate(names):
        names[number] = _free(name, scans[number].kind, taken)
        taken.add(names[number])
    return names


def _free(name: Path, kind: str, taken: set[Path]) -> Path:
    """The name, with the kind of the file or a number behind it where it is taken."""
    tried, count = name, 1
    if tried in taken and kind:
        tried = name.with_name(f"{name.name}_{kind}")
    while tried in taken:
        count += 1
        tried = name.with_name(f"{name.name}_{count}")
    return tried
