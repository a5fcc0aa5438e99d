"""The query's own slices serve each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dpcenet.inference import looks
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.own_slices import (
    closer_by_own_slices,
    helpers,
    labelled_by_itself,
    own_tasks,
    shared_by_neighbours,
)
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import MatchedSlices
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import SecondLook
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features

SPACING = (5.0, 1.0, 1.0)
SIDE = 64


class Volumes(Copy):
    """`copy`, which answers with the mean mask of what serves, as a method of volumes."""

    as_volume = True
    neighbours = 1
    second_look = SecondLook(size=32, gain=6.0, min_half=16.0)


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(Volumes(Options()).eval())


def scan(slices: int) -> EncodedScan:
    """A scan in which there is nothing to see: `copy` does not look."""
    images = torch.zeros(slices, 1, SIDE, SIDE)
    return EncodedScan(images, Features({"image": images}), SPACING)


def square(slices: int, *at: int) -> np.ndarray:
    """Probability (slices, SIDE, SIDE): 0.9 in a square on some slices."""
    found = np.zeros((slices, SIDE, SIDE), np.float32)
    found[list(at), 24:36, 20:32] = 0.9
    return found


def is_the_square(mask: np.ndarray) -> bool:
    """Whether a slice shows the square of `square`, but for the pixels along its edges."""
    return bool(mask[25:35, 21:31].all()) and mask.sum() <= 14 * 14


def test_the_slices_on_either_side_help_where_the_label_was_found() -> None:
    shown = np.array([False, True, False, True, True, False, False])
    assert helpers(shown, range(7)) == {0: [1], 2: [1, 3], 3: [4], 4: [3], 5: [4]}
    assert helpers(shown, [2, 6]) == {2: [1, 3]}


def test_a_voxel_of_a_scan_labelled_by_itself_has_its_likeliest_label() -> None:
    one, two = square(3, 0, 1), square(3, 1, 2)
    two[1] *= 0.8 / 0.9
    two[2, 24:36, 20:26] = 0.5  # no more likely than not
    label = labelled_by_itself(scan(3), {4: one, 7: two}).label
    assert (label[0] == np.where(one[0] > 0, 4, 0)).all()
    assert (label[1] == np.where(one[1] > 0, 4, 0)).all()
    assert (label[2, 24:36, 26:32] == 7).all() and (label[2] > 0).sum() == 12 * 6
    assert own_tasks(label, 7, [0, 1, 2]) == [SliceTask((SupportSlice(0, 2),), (1,))]


def test_what_neighbouring_slices_share() -> None:
    same = square(5, 1, 2, 3)
    assert shared_by_neighbours(same, [1, 2, 3]) == 1
    assert shared_by_neighbours(same, [0, 1, 2, 3, 4]) == pytest.approx(2 * 2 / (3 + 3))
    moved = square(2, 0, 1)
    moved[1] = np.roll(moved[0], 6, axis=1)  # half of the square's side
    assert shared_by_neighbours(moved, [0, 1]) == pytest.approx(0.5)
    assert shared_by_neighbours(np.zeros((3, 8, 8), np.float32), [0, 1, 2]) == 0
    assert shared_by_neighbours(same, [2]) == 0  # nothing beside it that could help


@pytest.mark.parametrize(("rolled", "looked_again"), [(0, []), (20, [(5, 6.0), (5, 2.0)])])
def test_labels_whose_slices_share_little_are_looked_at_again(
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
    rolled: int,
    looked_again: list[tuple[int, float]],
) -> None:
    """`copy` finds the support's label where it is: the same place on each slice, or not.

    The second time the windows are a third as wide.
    """
    label = np.where(square(5, 1, 2, 3) > 0, 5, 0).astype(np.uint8)
    label[2] = np.roll(label[2], rolled, axis=0)
    seen: list[tuple[int, float]] = []
    again = looks.refine_in_windows

    def spied(*args: Any) -> list[torch.Tensor]:
        seen.extend((answer.value, args[1].gain) for answer in args[4])
        return again(*args)

    monkeypatch.setattr("dpcenet.inference.predictor.refine_in_windows", spied)
    whole = MatchedSlices(known=(np.arange(5),))
    labelled = LabelledScan("a", scan(5), label)
    found = predictor.segment([labelled], scan(5), whole, [5])
    assert list(dict.fromkeys(seen)) == looked_again
    assert (found.at_first[5] == (label == 5)).all()
    two = predictor.segment(
        [labelled, labelled], scan(5), MatchedSlices(known=whole.known * 2), [5]
    )
    assert not two.at_first  # what one of them alone shows is not known


def test_windows_of_own_slices_are_half_as_wide_where_slices_share_little(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = []
    monkeypatch.setattr(
        "dpcenet.inference.predictor.closer_by_own_slices",
        lambda method, look, query, found, slices, precision: gains.append(look.gain),
    )
    for rolled in (0, 20):
        label = np.where(square(5, 1, 2, 3) > 0, 5, 0).astype(np.uint8)
        label[2] = np.roll(label[2], rolled, axis=0)
        whole = MatchedSlices(known=(np.arange(5),))
        predictor.segment([LabelledScan("a", scan(5), label)], scan(5), whole, [5])
    assert gains == [6.0, 3.0]


def test_a_slice_is_segmented_by_its_neighbours_through_a_window(predictor: Predictor) -> None:
    look = predictor.method.second_look
    assert look is not None
    found = square(5, 0, 1, 3, 4)
    found[2, 60:, 60:] = 0.3  # outside every window
    closer_by_own_slices(predictor.method, look, scan(5), found, [1, 2], "float32")
    assert is_the_square(found[2] > 0.5)
    assert (found[2, 60:, 60:] == np.float32(0.3)).all()
    assert found[1, 30, 26] == pytest.approx(1.0, abs=1e-4)  # slice 0 serves it, slice 2 does not
    assert (found[[0, 3, 4]] == square(5, 0, 1, 3, 4)[[0, 3, 4]]).all()  # not asked for


def test_nothing_is_changed_where_nothing_was_found(predictor: Predictor) -> None:
    look = predictor.method.second_look
    assert look is not None
    found = square(3)
    closer_by_own_slices(predictor.method, look, scan(3), found, [0, 1, 2], "float32")
    assert not found.any()
    alone = square(3, 1)  # its own slice helps nobody but the others
    closer_by_own_slices(predictor.method, look, scan(3), alone, [1], "float32")
    assert (alone == square(3, 1)).all()


def test_a_slice_that_the_first_look_missed_is_found_by_its_neighbours(
    predictor: Predictor,
) -> None:
    """`copy` pastes an empty support slice on slice 3; smoothing across 30 mm does not fill it."""
    label = (square(7, *range(7)) > 0).astype(np.uint8)
    label[3, 30:] = 0
    thick = replace(scan(7), spacing=(60.0, 1.0, 1.0))
    thick.images[:, 0] = torch.from_numpy(square(7, *range(7)))  # the whole organ is bright
    support, plan = LabelledScan("a", thick, label), MatchedSlices((np.arange(7),))
    assert not predictor.at_first_look().segment([support], thick, plan, [1]).masks[1][3, 30:].any()
    found = predictor.segment([support], thick, plan, [1])
    assert is_the_square(found.masks[1][3])
    assert {len(task.support) for task in found.slices.tasks[1]} == {1}  # no neighbours besides
    asked = replace(predictor, neighbours=1).segment([support], thick, plan, [1])
    assert max(len(task.support) for task in asked.slices.tasks[1]) == 3


def test_windows_of_large_organs_end_within_the_slice(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = []
    whole = np.full((3, SIDE, SIDE), 0.9, np.float32)
    monkeypatch.setattr(
        "dpcenet.inference.own_slices.encode_slices",
        lambda method, images, precision: cut.append(images) or Features({"image": images}),
    )
    look = SecondLook(size=32, gain=6.0, min_half=8.0)
    query = scan(3)
    query.images[:, :, :2] = 1  # rows 0 and 1, which a window of 0.45 of the side does not reach
    closer_by_own_slices(predictor.method, look, query, whole, [1], "float32")
    assert len(cut) == 1 and cut[0].shape[-1] == 32 and float(cut[0].max()) < 0.5
