"""Pairs from labelled scans ask for what a person drew, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.data.synthetic.pairs import PairOptions
from dpcenet.errors import ConfigError
from dpcenet.training.labelled_pairs import DrawnScan, LabelledPairs

OPTIONS = PairOptions(size=48, targets=2)


@pytest.fixture(scope="module")
def scan() -> DrawnScan:
    """Two labels on slices 2 and 3 of eight, one of them on slice 4 too; slices are 6 mm apart."""
    image = np.random.default_rng(0).normal(size=(8, 64, 64)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    label[2:4, 10:40, 8:30] = 1
    label[2:5, 20:50, 34:60] = 2
    return DrawnScan("made", image, label, (6.0, 1.0, 1.0))


def test_masks_are_what_was_drawn(scan: DrawnScan) -> None:
    pairs = LabelledPairs([scan], seed=1, batch=8, options=OPTIONS)(0)
    assert pairs.support_images.shape == pairs.query_images.shape == (8, 1, 48, 48)
    assert pairs.support_masks.shape == pairs.query_masks.shape == (8, 2, 48, 48)
    assert set(pairs.targets.unique().tolist()) == {1, 2}
    for labels, masks in (
        (pairs.support_labels, pairs.support_masks),
        (pairs.query_labels, pairs.query_masks),
    ):
        assert torch.equal(masks, (labels[:, None] == pairs.targets[..., None, None]).float())
    assert bool(pairs.support_masks.flatten(2).any(2).all())
    # Slices up to 12 mm away are asked, so some lack the label.
    there = torch.cat(
        [LabelledPairs([scan], 1, 8, OPTIONS)(n).query_masks.flatten(2).any(2) for n in range(4)]
    )
    assert 0 < int(there.sum()) < there.numel()


def test_a_label_that_a_slice_lacks_is_not_asked_for(scan: DrawnScan) -> None:
    only = np.where(np.arange(8)[:, None, None] == 4, scan.label, 0).astype(np.uint8)
    pairs = LabelledPairs([replace(scan, label=only)], seed=1, batch=4, options=OPTIONS)(0)
    assert pairs.targets.tolist() == [[2, 2]] * 4


def test_a_batch_is_a_function_of_seed_and_number(scan: DrawnScan) -> None:
    one, two = (LabelledPairs([scan], seed=3, batch=2, options=OPTIONS) for _ in range(2))
    one(0)
    assert torch.equal(one(5).query_images, two(5).query_images)
    assert not torch.equal(one(5).query_images, one(6).query_images)
    assert not torch.equal(
        one(5).query_images, LabelledPairs([scan], 4, 2, OPTIONS)(5).query_images
    )


def test_scans_without_a_label_are_refused(scan: DrawnScan) -> None:
    with pytest.raises(ConfigError, match="none shows a label"):
        LabelledPairs([replace(scan, label=np.zeros_like(scan.label))], 0, 2, OPTIONS)
