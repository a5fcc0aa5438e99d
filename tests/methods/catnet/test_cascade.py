"""A block of CAT-Net's cascade, written anew in NumPy with the whole attention matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from dpcenet.methods.catnet.cascade import CascadeHead, CMATBlock

Array = npt.NDArray[np.float64]
C, ROWS, SHOTS, QUERIES = 16, 6, 2, 3


def linear(layer: nn.Module, rows: Array) -> Array:
    assert isinstance(layer, nn.Linear)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return rows @ weight.T + bias


def norm(layer: nn.LayerNorm, rows: Array) -> Array:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def read(layer: nn.Module, target: Array, source: Array, matrix: Array | None = None) -> Array:
    """softmax(Q Kᵀ / √d) ⊙ matrix, times V."""
    queries, keys = linear(layer.query, target), linear(layer.key, source)
    logits = queries @ keys.T / np.sqrt(queries.shape[-1])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights if matrix is None else weights * matrix) @ linear(layer.value, source)


def slow_block(
    block: CMATBlock, support: Array, query: Array, mask_s: Array, mask_q: Array
) -> tuple[Array, Array]:
    """One query: support (Sh, hw, C), query (hw, C), mask_s (Sh, hw), mask_q (hw)."""

    def within(rows: Array) -> Array:
        return norm(block.norm_self, rows + read(block.self_attention, rows, rows))

    def across(target: Array, source: Array, target_mask: Array, source_mask: Array) -> Array:
        shape = (len(target), len(source))
        side = source_mask[None] if block.mask_on == "keys" else target_mask[:, None]
        matrix = np.broadcast_to(side, shape)
        rows = norm(block.norm_cross, target + read(block.cross_attention, target, source, matrix))
        hidden = np.maximum(linear(block.mlp[0], rows), 0)
        return norm(block.norm_mlp, rows + linear(block.mlp[2], hidden))

    shots = np.concatenate([within(shot) for shot in support])
    own = within(query)
    flat = mask_s.reshape(-1)
    return across(shots, own, flat, mask_q).reshape(support.shape), across(own, shots, mask_q, flat)


@pytest.mark.parametrize("mask_on", ["keys", "queries"])
def test_block_is_masked_cross_attention_with_residuals(mask_on: str) -> None:
    torch.manual_seed(0)
    block = CMATBlock(C, mask_on).double()
    rng = np.random.default_rng(1)
    support = rng.normal(size=(QUERIES, SHOTS, ROWS, C))
    query = rng.normal(size=(QUERIES, ROWS, C))
    mask_s, mask_q = rng.random((SHOTS, ROWS)), (rng.random((QUERIES, ROWS)) > 0.5).astype(float)
    inputs = (torch.from_numpy(a) for a in (support, query, mask_s, mask_q))
    new_support, new_query = block(*inputs)
    for n in range(QUERIES):
        expected = slow_block(block, support[n], query[n], mask_s, mask_q[n])
        assert_allclose(new_support[n].detach(), expected[0], rtol=1e-9)
        assert_allclose(new_query[n].detach(), expected[1], rtol=1e-9)


def head_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    support = torch.randn(SHOTS, C, 5, 6, generator=generator)
    query = torch.randn(QUERIES, C, 5, 6, generator=generator)
    masks = torch.zeros(SHOTS, 20, 24)
    masks[:, 4:12, 8:20] = 1
    return support, masks, query


def test_start_is_the_cosine_with_the_masked_mean_under_the_threshold() -> None:
    torch.manual_seed(0)
    support, masks, query = head_inputs()
    start = CascadeHead(C, blocks=1, mask_on="keys")(support, masks, query, torch.tensor([-2.0]))[0]
    large = nn.functional.interpolate(support, size=(20, 24), mode="bilinear").double().numpy()
    mask = masks[:, None].double().numpy()
    means = (large * mask).sum(axis=(2, 3)) / (mask.sum(axis=(2, 3)) + 1e-5)
    prototype = means.mean(axis=0)
    features = query.double().numpy()
    cosine = np.einsum("nchw,c->nhw", features, prototype) / (
        np.linalg.norm(features, axis=1) * np.linalg.norm(prototype)
    )
    expected = 1 - 1 / (1 + np.exp(-0.5 * (-20 * cosine + 2.0)))
    assert_allclose(start, expected, rtol=1e-4, atol=1e-6)


def test_each_block_is_led_by_the_mask_predicted_before_it() -> None:
    """With another threshold the first mask differs, and with it what block one gives."""
    torch.manual_seed(0)
    head = CascadeHead(C, blocks=3, mask_on="keys")
    led: list[torch.Tensor] = []
    for block in head.blocks:
        block.register_forward_hook(lambda _m, inputs, _o: led.append(inputs[3]))
    probabilities = head(*head_inputs(), torch.tensor([0.0]))
    assert len(probabilities) == 4
    for mask, before in zip(led, probabilities, strict=False):
        assert torch.equal(mask, (before > 0.5).float().flatten(1))
    assert 0 < float(led[0].mean()) < 1
