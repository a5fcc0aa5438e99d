"""The role swap is a mean over queries, and says which of them it asks for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.nn.losses import role_swap_loss

MASKS = torch.tensor([[[0.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]])  # two shots of 1×3 pixels
FOREGROUND = {0: 0.25, 1: 0.9, 2: 0.5}


def segment(query: int) -> Tensor:
    p = torch.tensor(FOREGROUND[query])
    return torch.stack([1 - p, p]).log().reshape(1, 2, 1, 1).expand(2, 2, 1, 3)


def test_the_loss_is_the_mean_over_queries_and_an_empty_one_counts_as_zero() -> None:
    predicted = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]])
    asked: list[int] = []

    def spy(query: int) -> Tensor:
        asked.append(query)
        return segment(query)

    found = role_swap_loss(spy, predicted, MASKS)
    # Half of the pixels are foreground.
    losses = {q: -np.log([p, 1 - p]).mean() for q, p in FOREGROUND.items()}
    assert asked == [0, 2]
    assert_allclose(found.item(), (losses[0] + losses[2]) / 3, rtol=1e-6)
    every = role_swap_loss(segment, predicted, MASKS, skip_empty=False)
    assert_allclose(every.item(), sum(losses.values()) / 3, rtol=1e-6)


def test_class_weights_make_a_weighted_mean() -> None:
    found = role_swap_loss(segment, torch.ones(1, 1, 3), MASKS, class_weights=(0.1, 1.0))
    wanted = -(0.1 * np.log(0.75) + np.log(0.25)) / 1.1
    assert_allclose(found.item(), wanted, rtol=1e-6)


def test_without_any_prediction_the_loss_is_zero() -> None:
    assert role_swap_loss(segment, torch.zeros(3, 1, 3), MASKS).item() == 0
