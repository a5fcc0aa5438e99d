"""Pooling, similarity and losses against NumPy, and the exact algebra of averaging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.pooling import adjoint_upsample, enlarge, masked_average, shrink
from dpcenet.nn.similarity import cosine_maps, two_class_log_probs


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sizes", [((8, 9), (30, 31)), ((16, 16), (64, 64)), ((5, 7), (5, 7))])
def test_mean_of_upsampled_features_needs_no_upsampled_features(
    align_corners: bool, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    small, large = sizes
    features, mask = draw(2, 5, *small), (draw(2, *large, seed=1) > 0).double()
    ours = masked_average(features, adjoint_upsample(mask, small, align_corners))
    upsampled = enlarge(features, large, align_corners).numpy()
    m = mask.numpy()[:, None]
    expected = (upsampled * m).sum((2, 3)) / (m.sum((2, 3)) + 1e-5)
    assert_allclose(ours, expected, rtol=1e-6, atol=1e-12)


def test_an_empty_mask_has_the_mean_zero() -> None:
    mean = masked_average(draw(1, 3, 4, 4), torch.zeros(1, 4, 4).double())
    assert_allclose(mean, np.zeros((1, 3)))


def test_shrink_samples_bilinearly_at_cell_centres() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, :, 2:] = 1
    assert_allclose(shrink(mask, (2, 2))[0], [[0, 1], [0, 1]])


@pytest.mark.parametrize("shared", [True, False])
def test_cosine_maps_are_cosines(shared: bool) -> None:
    features, prototypes = draw(2, 6, 3, 4), draw(2, 5, 6, seed=2)
    given = prototypes[0] if shared else prototypes
    ours = cosine_maps(features, given).numpy()
    for n in range(2):
        for k in range(5):
            p = prototypes[0 if shared else n, k].numpy()
            f = features[n].numpy()
            expected = np.einsum("chw,c->hw", f, p) / (
                np.linalg.norm(f, axis=0) * np.linalg.norm(p)
            )
            assert_allclose(ours[n, k], expected, rtol=1e-9)


def test_segmentation_loss_is_equation_1_11_and_its_weighted_mean() -> None:
    logits = draw(2, 2, 4, 4)
    log_probs = logits.log_softmax(dim=1)
    mask = (draw(2, 4, 4, seed=3) > 0).double()
    p, m = log_probs.exp().numpy(), mask.numpy()
    terms = -(m * np.log(p[:, 1]) + (1 - m) * np.log(p[:, 0]))
    assert_allclose(segmentation_loss(log_probs, mask), terms.mean(), rtol=1e-9)
    weights = np.where(m > 0, 1.0, 0.1)
    expected = (weights * terms).sum() / weights.sum()
    assert_allclose(segmentation_loss(log_probs, mask, (0.1, 1.0)), expected, rtol=1e-9)


def test_hard_masks_and_certain_probabilities() -> None:
    log_probs = two_class_log_probs(torch.tensor([[[0.0, 0.4, 0.6, 1.0]]]))
    assert log_probs.isfinite().all()
    assert hard_masks(log_probs).tolist() == [[[0.0, 0.0, 1.0, 1.0]]]
