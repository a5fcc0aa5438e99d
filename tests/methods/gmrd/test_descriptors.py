"""GMRD's descriptors against the plain way: populate a feature map of all pixels, then multiply."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from dpcenet.methods.gmrd.descriptors import (
    PixelMLP,
    descriptor_loss,
    inner_ring,
    outer_ring,
    populate,
    signed_background,
)


def random_mask(share: float, seed: int, size: tuple[int, int] = (20, 26)) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_populating_is_the_official_rule_with_the_official_sample(share: float) -> None:
    pool = random_mask(share, seed=1).numpy().flatten()
    members = [i for i, inside in enumerate(pool) if inside]
    missing = len(pool) - len(members)
    random = Random(5)
    fill = random.sample(members, missing % len(members)) + members * (missing // len(members))
    expected = [i if inside else fill.pop(0) for i, inside in enumerate(pool)]
    found = populate(torch.tensor(pool).view(20, 26), Random(5))
    assert found.tolist() == expected


def test_populating_from_nothing_gives_a_zero_map() -> None:
    assert populate(torch.zeros(4, 5, dtype=torch.bool), Random(0)).tolist() == [0] * 20


def plain(mlp: PixelMLP, features: Tensor, pool: Tensor, source: Tensor) -> Tensor:
    """All pixels' features, populated, sampled at the grid, through the two layers."""
    large = F.interpolate(features[None], size=pool.shape, mode="bilinear", align_corners=True)[0]
    populated = large.flatten(1)[:, source].view(len(features), *pool.shape)
    (height, width), (rows, columns) = pool.shape, mlp.grid
    read = [(r * height // rows, c * width // columns) for r in range(rows) for c in range(columns)]
    inputs = torch.stack([populated[:, y, x] for y, x in read], dim=1)
    return mlp.last(mlp.between(mlp.first(inputs))).T


@pytest.mark.parametrize("grid", [(20, 26), (16, 16), (33, 40)])
@pytest.mark.parametrize("relu", [True, False])
def test_descriptors_equal_the_plain_way(grid: tuple[int, int], relu: bool) -> None:
    torch.manual_seed(0)
    mlp = PixelMLP(grid, count=5, relu=relu, dropout=0.0)
    features = torch.randn(7, 6, 8, requires_grad=True)
    pool = random_mask(0.2, seed=2)
    source = populate(pool, Random(0))
    found, expected = mlp(features, pool, source), plain(mlp, features, pool, source)
    assert_allclose(found.detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    weights = torch.randn(5, 7)
    wanted = (features, mlp.first.weight, mlp.last.bias)
    ours = torch.autograd.grad((found * weights).sum(), wanted)
    theirs = torch.autograd.grad((expected * weights).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_empty_pool_leaves_the_biases() -> None:
    torch.manual_seed(0)
    mlp = PixelMLP((8, 8), count=5, relu=True, dropout=0.0)
    pool = torch.zeros(8, 8, dtype=torch.bool)
    found = mlp(torch.randn(7, 4, 4), pool, populate(pool, Random(0)))
    nothing = mlp.last(mlp.first.bias.relu())
    assert_allclose(found.detach(), nothing.detach()[:, None].expand(-1, 7), rtol=1e-6)


def test_rings_are_those_of_scipy() -> None:
    mask = torch.zeros(30, 34)
    mask[0:14, 5:20] = 1  # touches the border, where nothing may be eroded
    mask[20, 30] = 1
    m, square = mask.numpy().astype(bool), np.ones((3, 3))
    eroded = scipy.ndimage.binary_erosion(m, square, iterations=2, border_value=1)
    dilated = scipy.ndimage.binary_dilation(m, square, iterations=2)
    outside = scipy.ndimage.binary_dilation(~m, square, iterations=2)
    assert_array_equal(inner_ring(mask[None])[0], m & ~eroded)
    assert_array_equal(outer_ring(mask[None])[0], dilated & ~m)
    signed = signed_background(mask[None])[0]
    assert_array_equal(signed, outside.astype(float) - m)
    assert set(signed.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_the_descriptor_loss_counts_each_class_and_punishes_overlap() -> None:
    one, two = torch.eye(4)[:2].repeat(3, 1), torch.eye(4)[2:].repeat(3, 1)
    apart = {"foreground": one, "background": two}
    assert float(descriptor_loss(apart, apart)) == pytest.approx(0.0, abs=1e-6)
    same = {"foreground": one, "background": one}
    # Half of the pairs are alike: mean cosine 1/2 on either side.
    assert float(descriptor_loss(same, same)) == pytest.approx(1.0, abs=1e-6)
    turned = {"foreground": two, "background": one}
    assert float(descriptor_loss(apart, turned)) == pytest.approx(2.0, abs=1e-6)
