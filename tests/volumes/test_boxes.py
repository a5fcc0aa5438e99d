"""Boxes and values found block by block are those of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dpcenet.system import large_arrays
from dpcenet.volumes import boxes_and_values as module
from dpcenet.volumes.boxes_and_values import (
    above,
    box_above,
    box_of,
    centre_of,
    label_boxes,
    values_in,
    within_mm,
)


@pytest.fixture(params=[1, 2**24], ids=["a slice", "all"])
def labels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(large_arrays, "BLOCK", request.param)
    made = np.zeros((9, 12, 10), np.uint8)
    made[1:4, 2:5, 3:9] = 3
    made[2:8, 6:11, 0:2] = 1
    made[5, 0, 9] = 3
    return made


def test_boxes_of_labels(labels: np.ndarray) -> None:
    wanted = dict(enumerate(ndimage.find_objects(labels), start=1))
    del wanted[2]
    assert label_boxes(labels) == wanted and [*label_boxes(labels)] == [1, 3]
    assert values_in(labels) == [0, 1, 3]


def test_box_of_what_is_above(labels: np.ndarray) -> None:
    assert box_above(labels, 1) == label_boxes(labels)[3] == box_of(labels == 3)
    assert box_above(labels, 3) is None
    assert np.array_equal(above(labels, 1), labels > 1)


def test_centre_is_the_centre_of_mass(labels: np.ndarray) -> None:
    for value in (1, 3):
        assert tuple(centre_of(labels == value)) == ndimage.center_of_mass(labels == value)


def test_distances_are_those_of_the_whole_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some slices at a time, also where a mask lies beyond them or nowhere near."""
    mask = np.random.default_rng(0).random((40, 12, 12)) > 0.998
    mask[20:] = False
    for together in (1, 7, 64):
        monkeypatch.setattr(module, "TOGETHER", together)
        for mm in (3.0, 15.0):
            whole = ndimage.distance_transform_edt(~mask, sampling=(2.5, 1.5, 1.0)) <= mm
            np.testing.assert_array_equal(within_mm(mask, (2.5, 1.5, 1.0), mm), whole)
