"""Operations against products that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.evaluation.benchmark.flops import arithmetic, giga_operations, made_episode
from dpcenet.training.config import load_preset
from made import tiny_config


def test_products_and_convolutions_are_two_operations_each() -> None:
    a, b = torch.zeros(100, 200), torch.zeros(200, 300)
    assert giga_operations(lambda: a @ b) == pytest.approx(2 * 100 * 200 * 300 / 1e9)
    layer = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    image = torch.zeros(1, 3, 16, 16)
    assert giga_operations(lambda: layer(image)) == pytest.approx(2 * 16 * 16 * 27 * 5 / 1e9)


def test_the_episode_shows_a_disc() -> None:
    episode = made_episode()
    y, x = np.mgrid[:256, :256]
    disc = (y - 120) ** 2 + (x - 110) ** 2 < 1600
    np.testing.assert_array_equal(episode.support_masks[0].numpy(), disc)
    assert episode.query_images.shape == (1, 1, 256, 256)


def test_a_trained_network_costs_more_in_a_step_than_in_a_test_slice() -> None:
    found = arithmetic(tiny_config())
    assert 0 < found.further_slice < found.test_slice < found.step
    assert 0 < found.trained <= found.parameters
    frozen = arithmetic(tiny_config(frozen=True))
    assert frozen.trained < found.trained and frozen.parameters == found.parameters


def test_copy_costs_nothing() -> None:
    assert tuple(arithmetic(load_preset("copy/plain"))) == (0, 0, 0, 0, 0)
