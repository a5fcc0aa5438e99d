"""Attention against NumPy, and its measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.nn.attention import attend, effective_keys


def test_attend_is_softmax_of_scaled_products() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 6, generator=generator).double() for n in (5, 7, 7))
    logits = 0.3 * q.numpy() @ k.numpy().transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert_allclose(attend(q, k, v, 0.3), weights @ v.numpy(), rtol=1e-9)


def test_effective_keys_counts_from_one_to_all() -> None:
    keys = torch.eye(8)[None] * 100
    assert float(effective_keys(keys, keys, 1.0)) == pytest.approx(1.0)
    assert float(effective_keys(torch.zeros(1, 3, 8), keys, 1.0)) == pytest.approx(8.0)
