"""Which support slice serves which query slice, by hand."""

from __future__ import annotations

import numpy as np

from dpcenet.inference.support import (
    SliceTask,
    SupportSlice,
    matched_tasks,
    organ_slices,
    with_neighbours,
)


def shown(count: int, *slices: int, value: int = 1) -> np.ndarray:
    """(count, 2, 2) uint8 that shows `value` on some slices."""
    label = np.zeros((count, 2, 2), np.uint8)
    label[list(slices), 0, 1] = value
    return label


def of(z: int, scan: int = 0) -> SupportSlice:
    return SupportSlice(scan, z)


def test_matched_slices_serve_where_they_show_the_label() -> None:
    tasks = matched_tasks([np.array([0, 2, 2, 3, 5])], [shown(6, 2, 3)], 1)
    assert tasks == [SliceTask((of(2),), (1, 2)), SliceTask((of(3),), (3,))]


def test_half_of_several_scans_must_show_the_label() -> None:
    labels = [shown(6, 2, 3), shown(4, 1), shown(4, 1, 2)]
    matches = [np.array(m) for m in ([2, 2, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0])]
    assert matched_tasks(matches, labels, 1) == [
        SliceTask((of(2), of(1, 1), of(1, 2)), (0,)),
        SliceTask((of(2), of(1, 2)), (1,)),
    ]


def test_neighbours_show_the_label_and_lie_in_the_same_scan() -> None:
    labels = [shown(6, 2, 3, 5), shown(4, 0, 1, 2)]
    tasks = [SliceTask((of(3), of(0, 1)), (7,))]
    (near,) = with_neighbours(tasks, labels, 1, 1)
    assert near == SliceTask((of(3), of(0, 1), of(2), of(1, 1)), (7,))
    (far,) = with_neighbours(tasks, labels, 1, 2)
    assert far.support == (of(3), of(0, 1), of(2), of(5), of(1, 1), of(2, 1))
    assert with_neighbours(tasks, labels, 1, 0) == tasks


def test_organ_slices() -> None:
    assert organ_slices(shown(5, 1, 3, value=2), 2).tolist() == [1, 3]
    assert organ_slices(shown(5, 1, 3, value=2), 1).tolist() == []
