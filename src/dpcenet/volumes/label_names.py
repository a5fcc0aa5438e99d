"""One meaning for each label value over several masks: labels go by their names.

Segment 1 may be the liver in one file and the right kidney in the next, as every program numbers
segments by itself. Where files name their labels, the names decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.system.large_arrays import blocks, give_back, room_for
from dpcenet.volumes.boxes_and_values import values_in
from dpcenet.volumes.scan_file import NO_LABELS, Labels, ScanFile

MOST_VALUE = int(np.iinfo(np.uint8).max)


class CommonLabels:
    """Label values under which several masks mean the same, one mask after the other.

    The first mask with names keeps its values; masks without names keep theirs.

    Attributes:
        labels: what the common values mean so far.
    """

    def __init__(self, names: Mapping[int, str] = MappingProxyType({})) -> None:
        """`names` is what the person says of label values that have no name in their file."""
        self.labels = NO_LABELS
        self._said = dict(names)
        self._values: dict[str, int] = {}
        self._nameless: dict[int, str] = {}

    def table_for(self, mask: ScanFile, path: str) -> dict[int, int]:
        """Stored value → common value of a further mask.

        Args:
            mask: whole numbers.
            path: of the mask, for the error.

        Raises:
            VolumeError: a value has a name in one mask and none in another, or there are too many
                labels.
        """
        known, codes = given_names(mask.facts.labels.names), mask.facts.labels.codes
        present = _present(mask)
        names = distinct_names({v: self._said[v] for v in present if v in self._said} | known)
        nameless = present - set(names)
        table = table_by_names(names, self._values, nameless | set(self._nameless), path)
        for value in nameless:
            if value in self.labels.names:
                raise _nameless(path, value, "an earlier mask", self.labels.names[value])
            table[value] = value
            self._nameless.setdefault(value, path)
        for value, name in names.items():
            if table[value] in self._nameless:
                raise _nameless(self._nameless[table[value]], table[value], path, name)
        self._values |= {plain_name(name): table[value] for value, name in names.items()}
        self.labels = Labels(
            {table[value]: name for value, name in names.items()} | dict(self.labels.names),
            {table[value]: code for value, code in codes.items() if value in table}
            | dict(self.labels.codes),
        )
        return table


def name_for(names: Mapping[int, str], value: int) -> str:
    """What a label value is called: its name, or "label VALUE" where it has none."""
    return names.get(value, f"label {value}")


def given_names(names: Mapping[int, str]) -> dict[int, str]:
    """The names that say something: "label 3" of the value 3 is what a file writes without one."""
    return {value: name for value, name in names.items() if name != f"label {value}"}


def renumbered(data: npt.NDArray[Any], table: dict[int, int]) -> npt.NDArray[Any]:
    """Labels by a table of `CommonLabels`; the same array where nothing changes.

    Args:
        data: whole numbers.
        table: stored value → common value.
    """
    if all(old == new for old, new in table.items()):
        return data
    out = room_for(data.shape, np.uint8)
    for part in blocks(data):
        for old, new in table.items():
            out[part][np.round(data[part]) == old] = new
        give_back(out)
    return out


def table_by_names(
    names: Mapping[int, str], values: dict[str, int], kept: set[int], path: str
) -> dict[int, int]:
    """Stored value → common value of the named labels of one mask.

    Args:
        names: stored value → name.
        values: plain name → the common value that it has already.
        kept: values that no new name may get.
        path: for the error.

    Raises:
        VolumeError: there are too many labels.
    """
    taken = set(values.values())
    table: dict[int, int] = {}
    for value, name in names.items():
        if plain_name(name) in values:
            table[value] = values[plain_name(name)]
            continue
        others = (n for n in range(1, 1 << 16) if n not in taken | kept)
        free = value if value not in taken else next(others)
        if free > MOST_VALUE:
            raise VolumeError(path, "more than 255 labels", "fewer", "Leave some out.")
        table[value] = free
        taken.add(free)
    return table


def distinct_names(names: Mapping[int, str]) -> dict[int, str]:
    """The names, with the value behind one that another label has as well: "lesion (2)"."""
    often = Counter(map(plain_name, names.values()))
    return {
        v: f"{name} ({v})" if often[plain_name(name)] > 1 else name for v, name in names.items()
    }


def _nameless(path: str, value: int, other: str, name: str) -> VolumeError:
    found = f"label {value} has no name, and {other} calls it {name!r}"
    remedy = f"Say what it is, such as --name {value}={name!r}."
    return VolumeError(path, found, "a name for each label", remedy)


def _present(mask: ScanFile) -> set[int]:
    data: npt.NDArray[Any] = mask.volume.data
    return {round(value) for value in values_in(data)} - {0}


def plain_name(name: str) -> str:
    """A name as people mean it: "Right_Kidney" and "right kidney" are one."""
    return " ".join(name.replace("_", " ").casefold().split())
