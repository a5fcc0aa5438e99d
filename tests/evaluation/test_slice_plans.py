"""Which support slice serves which query slice: the lineage's tables, the rest by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dpcenet.evaluation.protocols import (
    chunk_bounds,
    chunks_of,
    every_slice_tasks,
    organ_tasks,
    support_positions,
)
from dpcenet.inference.slice_tasks import SliceTask, blind_shot_tasks, blind_tasks, organ_slices

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


def test_organ_tasks_with_one_support() -> None:
    support, query = shown(12, *range(2, 11)), shown(9, 3, 4, 5, 6, 7)
    assert organ_tasks([support], query, 1) == [
        SliceTask((3,), (3,)),
        SliceTask((6,), (4, 5)),
        SliceTask((9,), (6, 7)),
    ]
    assert organ_tasks([support], query, 1, chunks=1) == [SliceTask((6,), (3, 4, 5, 6, 7))]


def test_organ_tasks_with_two_supports_name_a_slice_of_each() -> None:
    one, two = shown(12, *range(2, 11)), shown(5, 1, 2, 3)
    tasks = organ_tasks([one, two], shown(9, 3, 4, 5), 1)
    assert [task.support for task in tasks] == [(3, 12 + 1), (6, 12 + 2), (9, 12 + 3)]
    alone = organ_tasks([shown(12), two], shown(9, 3, 4, 5), 1)
    assert [task.support for task in alone] == [(13,), (14,), (15,)]


def test_no_tasks_without_the_organ() -> None:
    there, absent = shown(5, 2), shown(5)
    assert organ_tasks([absent], there, 1) == organ_tasks([there], absent, 1) == []
    assert every_slice_tasks([absent], 5, 1) == []


def test_every_slice_is_served_by_the_middle_one() -> None:
    support = shown(12, *range(2, 11))
    assert every_slice_tasks([support], 4, 1) == [SliceTask((6,), (0, 1, 2, 3))]
    two = every_slice_tasks([support, shown(3, 1)], 2, 1)
    assert two == [SliceTask((6, 12 + 1), (0, 1))]


def test_blind_tasks_follow_the_matches() -> None:
    support = shown(6, 2, 3)
    tasks = blind_tasks([0, 2, 2, 3, 5], support, 1)
    assert tasks == [SliceTask((2,), (1, 2)), SliceTask((3,), (3,))]


def test_blind_shots_need_half_of_the_supports() -> None:
    labels = [shown(6, 2, 3), shown(4, 1), shown(4, 1, 2)]
    matches = [[2, 2, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    tasks = blind_shot_tasks(matches, labels, 1)
    assert tasks == [SliceTask((2, 6 + 1, 10 + 1), (0,)), SliceTask((2, 10 + 1), (1,))]


def test_organ_slices() -> None:
    assert organ_slices(shown(5, 1, 3, value=2), 2).tolist() == [1, 3]
    assert organ_slices(shown(5, 1, 3, value=2), 1).tolist() == []
