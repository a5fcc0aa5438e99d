"""Attention against NumPy, and its measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.nn import attention
from dpcenet.nn.attention import attend, effective_keys, pooled_attention


def test_attend_is_softmax_of_scaled_products() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 6, generator=generator).double() for n in (5, 7, 7))
    logits = 0.3 * q.numpy() @ k.numpy().transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert_allclose(attend(q, k, v, 0.3), weights @ v.numpy(), rtol=1e-9)


@pytest.mark.parametrize("block", [2**24, 1])  # whole, and 64 queries at a time
def test_received_is_the_pools_of_the_weights_and_so_are_its_gradients(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, n, 6, generator=generator).double().requires_grad_() for n in (150, 7))
    pools = torch.rand(2, 3, 150, generator=generator).double()
    out = pooled_attention(q, k, pools, 0.3)
    logits = 0.3 * q.detach().numpy() @ k.detach().numpy().transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert_allclose(out.detach(), pools.numpy() @ weights, rtol=1e-9)
    # d/dlogits of Σ g·(pools A) is A ∘ (poolsᵀg − Σ_k A poolsᵀg).
    gradient = torch.randn(out.shape, generator=generator).double()
    out.backward(gradient)
    inner = pools.numpy().transpose(0, 2, 1) @ gradient.numpy()
    inner = weights * (inner - (weights * inner).sum(-1, keepdims=True))
    assert q.grad is not None and k.grad is not None
    assert_allclose(q.grad, 0.3 * inner @ k.detach().numpy(), rtol=1e-9, atol=1e-12)
    wanted = 0.3 * inner.transpose(0, 2, 1) @ q.detach().numpy()
    assert_allclose(k.grad, wanted, rtol=1e-9, atol=1e-12)


def test_effective_keys_counts_from_one_to_all() -> None:
    keys = torch.eye(8)[None] * 100
    assert float(effective_keys(keys, keys, 1.0)) == pytest.approx(1.0)
    assert float(effective_keys(torch.zeros(1, 3, 8), keys, 1.0)) == pytest.approx(8.0)
