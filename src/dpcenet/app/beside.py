"""Which labelled slice the page shows beside a slice of a result: the one that the network used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dpcenet.app.program import ReviewedCase, ScanMatches, SliceLine
from dpcenet.app.project import Scan
from dpcenet.app.shown_scan import Facts

Slices = list[int | None]
"""For each slice of a result as shown, a slice of a labelled scan as shown; None where none is."""


def labelled_named(scans: list[Scan], given: str) -> Scan | None:
    """The scan that a command was given as `given`: a file of it, or the folder of its series.

    A path relative to a folder that nobody knows any more is known by its end, if by no other.
    """
    parts = Path(given).parts
    found = [
        scan
        for scan in scans
        if any(
            path.parts[-len(parts) :] == parts
            for path in (*scan.query.files, scan.query.files[0].parent)
        )
    ]
    return found[0] if len(found) == 1 else None


def shown_matches(case: ReviewedCase, query: Facts, labelled: dict[str, Facts]) -> list[Any]:
    """What served for a result, in slices as the page shows them.

    Args:
        case: the result, with its matches.
        query: of its scan.
        labelled: name in the matches → facts of that scan.

    Returns:
        for each labelled scan: its name in the matches, `whole`: the slice at the same place in the
        body, and `labels`: label name → the slice that served.
    """
    assert case.matches is not None
    places = _places(case.matches.query, query)
    return [
        {
            "scan": each.scan,
            "whole": _slices(each.whole, places, each, labelled[each.scan]),
            "labels": {
                name: _slices(served, places, each, labelled[each.scan])
                for name, served in each.labels.items()
            },
        }
        for each in case.matches.scans
        if each.scan in labelled and each.slices is not None
    ]


def _places(line: SliceLine, facts: Facts) -> Slices:
    """For each shown slice, the network's slice in which its middle lies."""
    z, y, x = facts.shape
    affine = np.array(facts.affine)
    middles = [affine @ [slice_, (y - 1) / 2, (x - 1) / 2, 1] for slice_ in range(z)]
    return [line.nearest(middle[:3]) for middle in middles]


def _slices(served: tuple[int, ...], places: Slices, each: ScanMatches, facts: Facts) -> Slices:
    assert each.slices is not None
    chosen = [None if place is None else served[place] for place in places]
    return [None if z is None or z < 0 else _shown(each.slices, z, facts) for z in chosen]


def _shown(line: SliceLine, z: int, facts: Facts) -> int | None:
    """The shown slice in which the middle of a network's slice lies.

    None where both run through the body in other directions, or the scan was replaced since.
    """
    back = np.linalg.inv(np.array(facts.affine))
    step = back[:3, :3] @ np.array(line.step)
    if abs(step[0]) < np.abs(step[1:]).max():
        return None
    index = round(float((back @ [*line.middle_of(z), 1])[0]))
    return index if 0 <= index < facts.shape[0] else None
