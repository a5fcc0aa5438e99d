"""Made-up pairs: reproducible, of the promised shapes and shares, and varied in size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpcenet.synthetic import PairGenerator, PairOptions, Pairs
from dpcenet.synthetic.contact import save_contact_sheet
from dpcenet.synthetic.labels import FIRST_ORGAN, LABELS


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Enough pairs for shares to mean something."""
    generator = PairGenerator(5, 16)
    batches = [generator(number) for number in range(12)]
    return Pairs(**{k: torch.cat([vars(b)[k] for b in batches]) for k in vars(batches[0])})


def test_a_batch_depends_on_seed_and_number_only() -> None:
    options = PairOptions(size=64)
    first, again = PairGenerator(1, 4, options), PairGenerator(1, 4, options)
    first(0)  # what was drawn before must not matter
    one, same = first(7), again(7)
    for name, tensor in vars(one).items():
        assert torch.equal(tensor, vars(same)[name]), name
    assert not torch.equal(one.query_images, first(8).query_images)
    assert not torch.equal(one.query_images, PairGenerator(2, 4, options)(7).query_images)


def test_shapes_and_values(pairs: Pairs) -> None:
    count = len(pairs.targets)
    assert pairs.support_images.shape == pairs.query_images.shape == (count, 1, 128, 128)
    assert pairs.support_masks.shape == pairs.query_masks.shape == (count, 3, 128, 128)
    for images in (pairs.support_images, pairs.query_images):
        assert torch.isfinite(images).all()
        assert images.mean().abs() < 0.1
        assert 0.8 < images.std() < 1.2
    for masks, labels in (
        (pairs.support_masks, pairs.support_labels),
        (pairs.query_masks, pairs.query_labels),
    ):
        assert torch.equal(masks, (labels[:, None] == pairs.targets[..., None, None]).float())
        assert labels.min() >= 0
        assert labels.max() < LABELS


def test_the_target_is_in_the_support_and_sometimes_not_in_the_query(pairs: Pairs) -> None:
    assert (pairs.support_masks.sum((2, 3)) >= 14).float().mean() > 0.97
    empty = (pairs.query_masks.sum((2, 3)) == 0).float().mean()
    assert 0.06 < empty < 0.2
    organs = (pairs.targets >= FIRST_ORGAN).float().mean()
    assert 0.7 < organs < 0.97


def test_the_targets_of_a_pair_differ(pairs: Pairs) -> None:
    ordered = pairs.targets.sort(1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()


def test_targets_are_of_all_sizes(pairs: Pairs) -> None:
    sizes = pairs.support_masks.sum((2, 3)).flatten()
    low, middle, high = sizes.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
    assert low < 60
    assert 80 < middle < 600
    assert high > 600


def test_two_patients_are_alike_but_not_the_same(pairs: Pairs) -> None:
    support, query = pairs.support_masks, pairs.query_masks
    total = support.sum((2, 3)) + query.sum((2, 3))
    dice = (2 * (support * query).sum((2, 3)) / total)[query.sum((2, 3)) > 0]
    assert (
        0.2 < dice.mean() < 0.5
    )  # pasting the support's mask must neither solve it nor be useless
    assert dice.max() < 1


@pytest.mark.parametrize(("absent", "low", "high"), [(0.0, 0.0, 0.1), (1.0, 0.5, 1.0)])
def test_absent_targets_are_asked_for_as_often_as_wanted(
    absent: float, low: float, high: float
) -> None:
    """A query that lacks nothing is asked for what it has, so that 1 is not quite reached."""
    pairs = PairGenerator(3, 32, PairOptions(size=64, absent=absent, targets=1))(0)
    empty = (pairs.query_masks.sum((2, 3)) == 0).float().mean()
    assert low <= empty <= high


def test_contact_sheet(tmp_path: Path) -> None:
    save_contact_sheet(PairGenerator(0, 3, PairOptions(size=64))(0), tmp_path / "sheet.png", 2)
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (2 * 4 * 64, 2 * 64, 3)
    assert (picture[..., 0] > picture[..., 1]).any()  # a red mask
    assert not picture[4 * 64 :, 64:].any()  # the empty tile
