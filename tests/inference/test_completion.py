"""A partly labelled scan: gaps are found and filled, and what was drawn stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.inference.completion import (
    Gap,
    complete,
    fill_gaps,
    filled,
    gaps_of,
    interpolated,
)
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features


def disc(radius: float, size: int = 32) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.asarray(y**2 + x**2 < radius**2)


def cone(*drawn: int, slices: int = 9) -> LabelledScan:
    """A cone of label 1 on slices 1 … 7, of which only some are drawn; images are blank."""
    label = np.zeros((slices, 32, 32), np.uint8)
    for z in drawn:
        label[z][disc(4 + z)] = 1
    images = torch.zeros(slices, 1, 32, 32)
    return LabelledScan("cone", EncodedScan(images, Features({"image": images}), (5, 1, 1)), label)


@pytest.fixture
def copier() -> Predictor:
    """`copy` answers with the mean of the masks beside a gap."""
    return Predictor(Copy(Options()).eval())


def test_gaps_lie_between_labelled_slices() -> None:
    label = cone(1, 4, 5, 7).label
    assert gaps_of(label, 1) == [Gap((2, 3), (1, 4)), Gap((6,), (5, 7))]
    assert gaps_of(cone(3, 4, 5).label, 1) == []
    assert gaps_of(label, 2) == gaps_of(label, 2, open_ended=True) == []


def test_open_ends_are_gaps_when_asked() -> None:
    assert gaps_of(cone(3, 4).label, 1, open_ended=True) == [
        Gap((2, 1, 0), (3,)),
        Gap((5, 6, 7, 8), (4,)),
    ]


def test_the_shape_between_two_discs_is_the_disc_between() -> None:
    for place in (0.25, 0.5, 0.75):
        found = interpolated(disc(20, 128), disc(52, 128), place) > 0.5
        wanted = disc(20 + 32 * place, 128)
        assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.95


def test_a_gap_is_filled_with_network_and_shape_by_its_width(copier: Predictor) -> None:
    scan = cone(1, 5)
    found = complete(copier, scan, [1])[1]
    pasted = (disc(5).astype(np.float32) + disc(9)) / 2
    for z in (2, 3, 4):
        shape = interpolated(disc(5), disc(9), (z - 1) / 4)
        np.testing.assert_allclose(found[z], 0.75 * pasted + 0.25 * shape, atol=1e-5)
    assert not found[[0, 1, 5, 6, 7, 8]].any()


def test_what_was_drawn_stays_and_other_labels_keep_their_place(copier: Predictor) -> None:
    scan = cone(1, 3)
    scan.label[2, 14:18, 14:18] = 2  # drawn in the gap of label 1
    whole, counts = fill_gaps(copier, scan, [1, 2])
    assert counts == {1: 1}
    assert (whole.label[scan.label > 0] == scan.label[scan.label > 0]).all()
    assert (whole.label[2] == 1).sum() > 20 and not whole.label[4:].any()


def test_a_scan_without_gaps_comes_back_as_it_is(copier: Predictor) -> None:
    scan = cone(2, 3, 4)
    assert fill_gaps(copier, scan, [1]) == (scan, {})


def test_open_ends_stop_at_the_first_empty_slice(copier: Predictor) -> None:
    class Fading(Copy):
        """`copy` that finds nothing on slices whose image is 1."""

        def match(self, support, support_masks, query, **more):  # type: ignore[no-untyped-def]
            found = super().match(support, support_masks, query, **more)
            log_probs = found.log_probs.clone()
            gone = query["image"].flatten(1).amax(1) > 0
            log_probs[gone, 0], log_probs[gone, 1] = 0.0, -20.0
            return type(found)(log_probs)

    scan = cone(3, 4)
    scan.slices.images[6] = 1  # the same tensor is the features
    found = complete(Predictor(Fading(Options()).eval()), scan, [1], open_ended=True)[1] > 0.5
    assert [bool(slice_.any()) for slice_ in found] == [1, 1, 1, 0, 0, 1, 0, 0, 0]


def test_the_likelier_label_fills() -> None:
    drawn = np.zeros((1, 1, 3), np.uint8)
    drawn[0, 0, 0] = 7
    one = np.array([[[0.9, 0.6, 0.4]]], np.float32)
    two = np.array([[[0.9, 0.8, 0.4]]], np.float32)
    assert filled(drawn, {1: one, 2: two}).tolist() == [[[7, 2, 0]]]
