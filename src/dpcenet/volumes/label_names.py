"""One meaning for each label value over several masks: labels go by their names.

Segment 1 may be the liver in one file and the right kidney in the next, as every program numbers
segments by itself. Where files name their labels, the names decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.errors import VolumeError
from dpcenet.volumes.facts import NO_LABELS, Labels
from dpcenet.volumes.grid import ScanFile

MOST_VALUE = int(np.iinfo(np.uint8).max)


class CommonLabels:
    """Label values under which several masks mean the same, one mask after the other.

    The first mask with names keeps its values; masks without names keep theirs.

    Attributes:
        labels: what the common values mean so far.
    """

    def __init__(self) -> None:
        self.labels = NO_LABELS
        self._values: dict[str, int] = {}

    def table_for(self, mask: ScanFile, path: str) -> dict[int, int]:
        """Stored value → common value of a further mask.

        Args:
            mask: whole numbers.
            path: of the mask, for the error.

        Raises:
            VolumeError: the mask has a value without a name that is a named label's in an earlier
                mask, or there are too many labels.
        """
        names, codes = _distinct(mask.facts.labels.names), mask.facts.labels.codes
        if not names:
            return {}
        table = _table(names, self._values, path)
        for value in _present(mask) - set(names):
            if value in self._values.values():
                found = f"label {value} has no name, and an earlier mask calls it "
                found += repr(self.labels.names[value])
                raise VolumeError(path, found, "a name for each label", "Name all its segments.")
            table[value] = value
        self._values |= {_plain(name): table[value] for value, name in names.items()}
        self.labels = Labels(
            {table[value]: name for value, name in names.items()} | dict(self.labels.names),
            {table[value]: code for value, code in codes.items()} | dict(self.labels.codes),
        )
        return table


def renumbered(data: npt.NDArray[Any], table: dict[int, int]) -> npt.NDArray[Any]:
    """Labels by a table of `CommonLabels`; the same array where nothing changes.

    Args:
        data: whole numbers.
        table: stored value → common value.
    """
    if all(old == new for old, new in table.items()):
        return data
    out = np.zeros(data.shape, np.uint8)
    for old, new in table.items():
        out[np.round(data) == old] = new
    return out


def _table(names: Mapping[int, str], values: dict[str, int], path: str) -> dict[int, int]:
    """Stored value → common value of the named labels of one mask."""
    taken = set(values.values())
    table: dict[int, int] = {}
    for value, name in names.items():
        if _plain(name) in values:
            table[value] = values[_plain(name)]
            continue
        free = value if value not in taken else next(n for n in range(1, 1 << 16) if n not in taken)
        if free > MOST_VALUE:
            raise VolumeError(path, "more than 255 labels", "fewer", "Leave some out.")
        table[value] = free
        taken.add(free)
    return table


def _distinct(names: Mapping[int, str]) -> dict[int, str]:
    """The names, with the value behind one that another label has as well: "lesion (2)"."""
    often = Counter(map(_plain, names.values()))
    return {v: f"{name} ({v})" if often[_plain(name)] > 1 else name for v, name in names.items()}


def _present(mask: ScanFile) -> set[int]:
    data: npt.NDArray[Any] = mask.volume.data
    return {round(float(value)) for value in np.unique(data)} - {0}


def _plain(name: str) -> str:
    """A name as people mean it: "Right_Kidney" and "right kidney" are one."""
    return " ".join(name.replace("_", " ").casefold().split())
