"""Made-up pairs: reproducible, of the promised shapes and shares, and varied in size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.labels import FIRST_ORGAN, LABELS
from dpcenet.data.synthetic.organs import CORES, FREE, TWINS, draw_organs
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions, Pairs
from dpcenet.data.synthetic.preview import save_contact_sheet

FIRST_CORE = FIRST_ORGAN + FREE + TWINS


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
        own = labels[:, None] == pairs.targets[..., None, None]
        more = (masks > 0) & ~own
        assert (masks[own] == 1).all()
        inside = labels[:, None].expand_as(masks)[more]  # some organs come with their cores
        assert ((inside >= FIRST_CORE) & (inside < FIRST_CORE + CORES)).all()
        assert 0.01 < more.flatten(2).any(2).float().mean() < 0.15
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


def test_cores_that_share_a_host_lie_apart_inside_it() -> None:
    organs = draw_organs(Draws(0, 0, torch.device("cpu")), 64, chambers=1.0)
    one, other = (slice(FREE + TWINS + k, FREE + TWINS + CORES, 2) for k in (0, 1))
    assert torch.equal(organs.leader[:, one], organs.leader[:, other])
    gap = (organs.centre[:, one, :2] - organs.centre[:, other, :2]).norm(dim=-1)
    widths = organs.radii[..., 0].exp()
    assert (gap > 0.8 * (widths[:, one] + widths[:, other])).float().mean() > 0.8
    hosts = widths.gather(1, organs.leader[:, one])
    assert (gap / 2 + widths[:, one] < 1.3 * hosts).float().mean() > 0.9


def test_patients_that_lie_elsewhere_are_told_by_option() -> None:
    """Pasting the support's mask gets worse the more of them there are."""
    dices = []
    for astray in (0.0, 1.0):
        options = PairOptions(size=64, absent=0, whole=0, astray=astray)
        pairs = PairGenerator(4, 48, options)(0)
        both = (pairs.support_masks * pairs.query_masks).sum((2, 3))
        total = (pairs.support_masks + pairs.query_masks).sum((2, 3))
        dices.append(float((2 * both / total.clamp_min(1)).mean()))
    assert dices[1] < 0.8 * dices[0]


def test_parts_can_be_left_out() -> None:
    plain = PairOptions(size=64, texture=0.0, artefacts=False, simple=True)
    pairs = PairGenerator(4, 16, plain)(0)
    assert not (pairs.support_labels >= FIRST_ORGAN + FREE).any()
    full = PairGenerator(4, 16, PairOptions(size=64))(0)
    assert (full.support_labels >= FIRST_ORGAN + FREE).any()


def test_contact_sheet(tmp_path: Path) -> None:
    save_contact_sheet(PairGenerator(0, 3, PairOptions(size=64))(0), tmp_path / "sheet.png", 2)
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (2 * 4 * 64, 2 * 64, 3)
    assert (picture[..., 0] > picture[..., 1]).any()  # a red mask
    assert not picture[4 * 64 :, 64:].any()  # the empty tile
