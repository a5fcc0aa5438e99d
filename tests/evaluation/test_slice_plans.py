"""Which support slice serves which query slice: the lineage's tables, the rest by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dpcenet.evaluation.protocols import (
    EACH_SLICE,
    MiddleSlice,
    OrganChunks,
    SameSlices,
    chunk_bounds,
    chunks_of,
    support_positions,
)
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_plans import Request, SliceMap
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features

METHOD = Copy(Options())
Golden = Callable[[str], dict[str, np.ndarray]]


def shown(count: int, *slices: int, value: int = 1) -> np.ndarray:
    """(count, 2, 2) uint8 that shows `value` on some slices."""
    label = np.zeros((count, 2, 2), np.uint8)
    label[list(slices), 0, 1] = value
    return label


def test_support_slices_are_the_lineages(golden: Golden) -> None:
    numbers = golden("pipeline")
    for chunks, name in ((3, "support_index.n3"), (1, "support_index.n1")):
        rows = [support_positions(count, chunks) for count in range(3, 40)]
        np.testing.assert_array_equal(rows, numbers[name])


def test_chunk_bounds_are_the_lineages(golden: Golden) -> None:
    rows = [chunk_bounds(count, 3) for count in range(3, 40)]
    np.testing.assert_array_equal(rows, golden("pipeline")["chunk_bounds.n3"])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("bounds", ["number", "range"])
@pytest.mark.parametrize("chunks", [1, 3])
def test_every_slice_is_in_one_chunk(count: int, bounds, chunks: int) -> None:
    slices = np.arange(5, 5 + count)
    runs = chunks_of(slices, chunks, bounds)
    assert len(runs) == chunks
    assert [z for run in runs for z in run] == slices.tolist()


def test_chunks_by_range_follow_the_place_and_not_the_number() -> None:
    """SSL-ALPNet's floor((z − min) / ((max − min) / 3)), on an organ with a gap."""
    slices = np.array([10, 11, 12, 13, 14, 25])
    assert chunks_of(slices, 3, "range") == [(10, 11, 12, 13, 14), (), (25,)]
    assert chunks_of(slices, 3, "number") == [(10, 11), (12, 13), (14, 25)]
    for last in range(1, 30):
        zs = np.arange(last + 1)
        expected = [min(int(np.floor(z / (last / 3))), 2) for z in zs]
        found = [k for k, run in enumerate(chunks_of(zs, 3, "range")) for _ in run]
        assert found == expected


def test_the_two_rules_differ_a_little() -> None:
    zs = np.arange(10)
    assert [len(run) for run in chunks_of(zs, 3, "number")] == [3, 3, 4]
    assert [len(run) for run in chunks_of(zs, 3, "range")] == [3, 3, 4]
    differing = [
        n
        for n in range(2, 40)
        if chunks_of(np.arange(n), 3, "number") != chunks_of(np.arange(n), 3, "range")
    ]
    assert differing


def of(z: int, scan: int = 0) -> SupportSlice:
    return SupportSlice(scan, z)


def labelled(label: np.ndarray) -> LabelledScan:
    """A labelled scan whose images are blank."""
    images = torch.zeros(len(label), 1, *label.shape[1:])
    return LabelledScan("made", EncodedScan(images, Features({"image": images}), (5, 1, 1)), label)


def test_organ_chunks_with_one_support() -> None:
    support, query = shown(12, *range(2, 11)), shown(9, 3, 4, 5, 6, 7)
    assert OrganChunks(query).tasks([support], 1) == [
        SliceTask((of(3),), (3,)),
        SliceTask((of(6),), (4, 5)),
        SliceTask((of(9),), (6, 7)),
    ]
    single = OrganChunks(query, chunks=1).tasks([support], 1)
    assert single == [SliceTask((of(6),), (3, 4, 5, 6, 7))]


def test_each_slice_is_served_by_the_labelled_one_at_its_height() -> None:
    """Nine labelled slices for three: by hand, the middles of thirds; and three for six."""
    support, query = shown(12, *range(2, 11)), shown(9, 3, 4, 5)
    plan = OrganChunks(query, EACH_SLICE)
    assert plan.tasks([support], 1) == [
        SliceTask((of(2 + k),), (q,)) for k, q in ((1, 3), (4, 4), (7, 5))
    ]
    back = OrganChunks(shown(12, *range(2, 8)), EACH_SLICE).tasks([query], 1)
    assert [task.support[0].z for task in back] == [3, 3, 4, 4, 5, 5]
    assert [task.query for task in back] == [(z,) for z in range(2, 8)]


def test_organ_chunks_with_two_supports_name_a_slice_of_each() -> None:
    one, two = shown(12, *range(2, 11)), shown(5, 1, 2, 3)
    plan = OrganChunks(shown(9, 3, 4, 5))
    pairs = [(of(3), of(1, 1)), (of(6), of(2, 1)), (of(9), of(3, 1))]
    assert [task.support for task in plan.tasks([one, two], 1)] == pairs
    alone = [task.support for task in plan.tasks([shown(12), two], 1)]
    assert alone == [(of(1, 1),), (of(2, 1),), (of(3, 1),)]


def test_a_scan_is_aligned_by_the_middle_slices_of_its_runs() -> None:
    scans = [labelled(shown(12, *range(2, 11))), labelled(shown(5, 1, 2, 3))]
    query = shown(9, 3, 4, 5, 6, 7)
    pairs = OrganChunks(query).pairs(Request(METHOD, scans, labelled(query).slices, [1]))
    assert pairs == [[(3, 3), (6, 5), (9, 7)], [(1, 3), (2, 5), (3, 7)]]


def test_nothing_serves_without_the_organ() -> None:
    there, absent = shown(5, 2), shown(5)
    for chunks in (3, EACH_SLICE):
        assert OrganChunks(there, chunks).tasks([absent], 1) == []
        assert OrganChunks(absent, chunks).tasks([there], 1) == []
    scan = labelled(absent)
    assert MiddleSlice().slices(Request(METHOD, [scan], scan.slices, [1]), [scan]).tasks == {1: []}


def test_every_slice_is_served_by_the_middle_one() -> None:
    one, two = labelled(shown(12, *range(2, 11))), labelled(shown(3, 1))
    query = labelled(shown(4)).slices
    every = (0, 1, 2, 3)
    alone = MiddleSlice().slices(Request(METHOD, [one], query, [1]), [one]).tasks
    assert alone == {1: [SliceTask((of(6),), every)]}
    both = MiddleSlice().slices(Request(METHOD, [one, two], query, [1]), [one, two]).tasks
    assert both == {1: [SliceTask((of(6), of(1, 1)), every)]}


def test_the_same_slices_are_given_on() -> None:
    scan = labelled(shown(5, 2))
    chosen = SliceMap({1: [SliceTask((of(2),), (0, 4))]})
    request, plan = Request(METHOD, [scan], scan.slices, [1]), SameSlices(chosen)
    assert plan.slices(request, [scan]) is chosen
    assert plan.pairs(request) == [[]]
