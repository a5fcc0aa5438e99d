"""The second look's windows of labelled scans, encoded for every query that may come.

Where a window lies depends on the label of its slice alone; its size on all slices that serve
together: the matched slice with its neighbours, and those of the other scans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from dpcenet.inference.encoded import EncodedWindows, encode_slices
from dpcenet.inference.looks import Windows, reach_of, windows_around
from dpcenet.inference.own_slices import CLOSEST
from dpcenet.inference.support import (
    LabelledScan,
    SliceTask,
    Support,
    SupportSlice,
    masks_of,
    organ_slices,
    with_neighbours,
)
from dpcenet.methods.base import Method, SecondLook
from dpcenet.system.device import Precision
from dpcenet.types import Features

_Places = dict[int, tuple[Tensor, set[float]]]  # slice → (centre of its window (2,), half sides)


def encode_windows(method: Method, support: Support, precision: Precision) -> list[EncodedWindows]:
    """For each labelled scan the windows that any query can ask for; none without second look.

    The closest ones only where one scan serves alone: several call for each other's sizes, of which
    close windows have as many as there are slices.
    """
    look = method.second_look
    if look is None:
        return [EncodedWindows({}, Features({})) for _ in support.scans]
    alone = method.as_volume and len(support.scans) == 1
    looks = (look, look.closer(CLOSEST)) if alone else (look,)
    wanted: dict[int, list[_Places]] = {}
    for value in support.values:
        reach = reach_of(method, volume=method.as_volume)  # whole scans are segmented from tasks
        wanted[value] = _sizes_added([_places(looks, scan, value, reach) for scan in support.scans])
    return [
        _encoded(method, look, scan, {value: each[n] for value, each in wanted.items()}, precision)
        for n, scan in enumerate(support.scans)
    ]


def _places(
    looks: Sequence[SecondLook], scan: LabelledScan, value: int, neighbours: int
) -> _Places:
    """The windows of a label when its scan serves alone; all looks have the same centres."""
    places: _Places = {}
    for group, look in product(_groups(scan, value, neighbours), looks):
        masks = masks_of([scan], group, value)
        pair = windows_around(masks, masks, look)
        if pair is None:
            continue  # they would show nearly everything: there is no second look
        for (_, z), centre in zip(group, pair.support.centres, strict=True):
            places.setdefault(z, (centre, set()))[1].add(pair.support.half)
    return places


def _groups(scan: LabelledScan, value: int, neighbours: int) -> Iterator[tuple[SupportSlice, ...]]:
    """The slices of a scan that may serve a query slice together."""
    for z in organ_slices(scan.label, value).tolist():
        alone = SliceTask((SupportSlice(0, z),), ())
        (task,) = with_neighbours([alone], [scan.label], value, neighbours)
        yield task.support


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
    method: Method,
    look: SecondLook,
    scan: LabelledScan,
    wanted: dict[int, _Places],
    precision: Precision,
) -> EncodedWindows:
    """The windows of one scan: label value → where they lie."""
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
        return EncodedWindows({}, Features({}))
    return EncodedWindows(rows, encode_slices(method, torch.cat(cut), precision))
