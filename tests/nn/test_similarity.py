"""Cosines of vectors that have none, and certain probabilities."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from dpcenet.nn.similarity import cosine_maps, two_class_log_probs


def test_a_zero_vector_has_similarity_zero() -> None:
    maps = torch.ones(1, 3, 2, 2)
    maps[0, :, 0, 0] = 0
    found = cosine_maps(maps, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    assert_allclose(found[0, 0], [[0, 1], [1, 1]], rtol=1e-6)
    assert_allclose(found[0, 1], np.zeros((2, 2)))


def test_probabilities_become_their_logarithms_in_the_order_background_foreground() -> None:
    found = two_class_log_probs(torch.tensor([[[0.2, 0.0]]], dtype=torch.float64))
    assert_allclose(found[0, :, 0, 0], np.log([0.8, 0.2]))
    assert found.isfinite().all() and found[0, 1, 0, 1] < -30
