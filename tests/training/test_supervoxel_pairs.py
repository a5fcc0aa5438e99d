"""Pairs from unlabelled scans: both slices are asked for the same region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.pairs import PairOptions
from dpcenet.errors import DatasetError
from dpcenet.training.supervoxel_pairs import ScanPairs, _grown, _united
from made import write_prepared

OPTIONS = PairOptions(size=48, targets=2)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedCase, ...]:
    folder = write_prepared(tmp_path_factory.mktemp("data"), count=3, labelled=False)
    return open_dataset(folder).cases


def test_shapes_and_masks(cases: tuple[PreparedCase, ...]) -> None:
    pairs = ScanPairs(cases, seed=3, batch=6, options=OPTIONS)(0)
    assert pairs.support_images.shape == pairs.query_images.shape == (6, 1, 48, 48)
    assert pairs.support_masks.shape == pairs.query_masks.shape == (6, 2, 48, 48)
    for labels, masks in (
        (pairs.support_labels, pairs.support_masks),
        (pairs.query_labels, pairs.query_masks),
    ):
        own = labels[:, None] == pairs.targets[..., None, None]
        assert torch.all(masks[own] == 1)  # a target's mask holds its own segment
        assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_a_batch_is_a_function_of_seed_and_number(cases: tuple[PreparedCase, ...]) -> None:
    one, two = (ScanPairs(cases, seed=3, batch=2, options=OPTIONS) for _ in range(2))
    one(0)
    assert torch.equal(one(5).query_images, two(5).query_images)
    assert not torch.equal(one(5).query_images, one(6).query_images)
    other = ScanPairs(cases, seed=4, batch=2, options=OPTIONS)
    assert not torch.equal(one(5).query_images, other(5).query_images)


def test_a_target_grows_only_over_segments_that_touch_it_and_look_alike() -> None:
    labels = torch.zeros(1, 12, 40, dtype=torch.long)
    image = torch.zeros(1, 12, 40)
    # side by side: 1 the target, 2 alike, 3 alike but apart from 1; above 1: 4, much brighter
    for value, columns, grey in ((1, (0, 10), 1.0), (2, (10, 20), 1.01), (3, (25, 40), 1.0)):
        labels[:, 6:, slice(*columns)] = value
        image[:, 6:, slice(*columns)] = grey
    labels[:, 2:6, 0:10], image[:, 2:6, 0:10] = 4, 5.0
    seen = set()
    for number in range(40):
        draws = Draws(0, number, torch.device("cpu"))
        members = _grown(draws, image, labels, torch.tensor([[1]]))
        seen.add(tuple(members[0, 0].nonzero()[:, 0].tolist()))
    assert seen == {(1,), (1, 2)}


def test_a_union_marks_its_segments_and_nothing_else() -> None:
    members = torch.tensor([[[False, True, False, True]]])
    labels = torch.tensor([[[0, 1, 2], [3, 7, 1]]])  # 7 is in no union
    assert _united(members, labels).tolist() == [[[[0, 1, 0], [1, 0, 1]]]]


def test_scans_without_supervoxels_are_refused(tmp_path: Path) -> None:
    cases = open_dataset(write_prepared(tmp_path, count=1)).cases
    path = cases[0].folder / "supervoxels.npy"
    np.save(path, np.zeros_like(np.load(path)))
    with pytest.raises(DatasetError, match="none has supervoxels"):
        ScanPairs(cases, seed=0, batch=2, options=OPTIONS)
