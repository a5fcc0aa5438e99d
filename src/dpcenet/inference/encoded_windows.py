"""The second look's windows of labelled scans, encoded for every query that may come.

Where a window lies depends on the label of its slice alone; its size on all slices that serve
together: the matched slice with its neighbours, and those of the other scans.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dpcenet.inference.batched import encode_slices, masks_of
from dpcenet.inference.encoded import Closeups
from dpcenet.inference.second_look import Windows, windows_around
from dpcenet.inference.slice_tasks import SliceTask, organ_slices, with_neighbours
from dpcenet.inference.support import Labelled, Support
from dpcenet.methods.base import Method
from dpcenet.system.device import Precision
from dpcenet.types import Features

_Places = dict[int, tuple[Tensor, set[float]]]  # slice → (centre of its window (2,), half sides)


def closeups_of(method: Method, support: Support, precision: Precision) -> list[Closeups]:
    """For each labelled scan the windows that any query can ask for; none without second look."""
    if method.second_look is None:
        return [Closeups({}, Features({})) for _ in support.scans]
    wanted = {value: _sizes_added(_places(method, support, value)) for value in support.values}
    return [
        _encoded(method, scan, {value: places[n] for value, places in wanted.items()}, precision)
        for n, scan in enumerate(support.scans)
    ]


def _places(method: Method, support: Support, value: int) -> list[_Places]:
    """For each scan the windows of a label when that scan serves alone."""
    return [
        _places_in(method, scan, value, list(_groups(scan, value, method.neighbours)))
        for scan in support.scans
    ]


def _groups(scan: Labelled, value: int, neighbours: int) -> Iterator[list[int]]:
    """The slices of a scan that may serve a query slice together."""
    for z in organ_slices(scan.label, value).tolist():
        (task,) = with_neighbours([SliceTask((z,), ())], [scan.label], value, neighbours)
        yield list(task.support)


def _places_in(method: Method, scan: Labelled, value: int, groups: list[list[int]]) -> _Places:
    look = method.second_look
    assert look is not None
    places: _Places = {}
    for group in groups:
        masks = masks_of(scan.label, group, value, scan.slices.images.device)
        windows = windows_around(masks, masks, look.gain, look.least)
        if windows is None:
            continue  # they would show nearly everything: there is no second look
        for z, centre in zip(group, windows[0].centres, strict=True):
            places.setdefault(z, (centre, set()))[1].add(windows[0].half)
    return places


def _sizes_added(scans: list[_Places]) -> list[_Places]:
    """The same windows also at the larger sizes that another scan, serving too, may call for."""
    sizes = [{half for _, halves in places.values() for half in halves} for places in scans]
    added: list[_Places] = []
    for n, places in enumerate(scans):
        others = set().union(*(s for m, s in enumerate(sizes) if m != n))
        added.append(
            {
                z: (centre, halves | {half for half in others if half > min(halves)})
                for z, (centre, halves) in places.items()
            }
        )
    return added


def _encoded(
    method: Method, scan: Labelled, wanted: dict[int, _Places], precision: Precision
) -> Closeups:
    look = method.second_look
    assert look is not None
    rows: dict[tuple[int, int], tuple[tuple[float, int], ...]] = {}
    cut: list[Tensor] = []
    for value, places in wanted.items():
        for z, (centre, halves) in places.items():
            windows = []
            for half in sorted(halves):
                windows.append((half, len(cut)))
                cut.append(Windows(centre[None], half).cut(scan.slices.images[[z]], look.size))
            rows[value, z] = tuple(windows)
    if not cut:
        return Closeups({}, Features({}))
    return Closeups(rows, encode_slices(method, torch.cat(cut), precision))
