"""Augmentation against the lineage's numbers, and its own promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.testing import assert_allclose

from dpcenet.training.augmentation import (
    PLAIN,
    AugmentOptions,
    apply_view,
    change_gamma,
    draw_affine,
    draw_view,
    gaussian_blur,
    warp_affine,
    warp_elastic,
)

Golden = Callable[[str], dict[str, np.ndarray]]
OPTIONS = AugmentOptions()


class LegacyDraws:
    """numpy's legacy generator in the shape of the new one: the lineage's numbers."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)

    def uniform(self, low: float, high: float, size: int | None = None) -> float:
        return self.state.uniform(low, high, size)


def test_affine_matrices_are_the_lineages(golden: Golden) -> None:
    for seed, expected in enumerate(golden("pipeline")["affine.M_seed0to5_256"]):
        matrix = draw_affine(LegacyDraws(seed), OPTIONS, (256, 256))
        assert_allclose(matrix, expected, rtol=1e-6, atol=2e-6)


def channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0)))[None].double()


def test_affine_warp_is_the_lineages(golden: Golden) -> None:
    """OpenCV rounds sampling positions to 1/32 pixel; so does the oracle's expected error."""
    numbers = golden("pipeline")
    source = channels_first(numbers["affine.in"])
    warped = warp_affine(source, numbers["affine.M_seed7_48"].astype(float))
    expected = channels_first(numbers["affine.out_seed7"])
    steepest = max(float(source.diff(dim=axis).abs().max()) for axis in (-1, -2))
    assert float((warped - expected).abs().max()) <= 2 * steepest / 64 + 1e-9


def test_elastic_warp_is_the_lineages(golden: Golden) -> None:
    numbers = golden("pipeline")
    noise = np.stack([numbers[f"elastic.noise_d{axis}_RandomState5"] for axis in "xy"])
    field = 10 * gaussian_blur(torch.from_numpy(noise), 5.0)
    warped = warp_elastic(channels_first(numbers["elastic.in"]), field)
    expected = channels_first(numbers["elastic.out_RandomState5"])
    assert_allclose(warped, expected, rtol=1e-5, atol=1e-6)


def test_gamma_is_the_lineages(golden: Golden) -> None:
    numbers = golden("pipeline")
    whole = torch.from_numpy(numbers["gamma.in"].reshape(1, 1, 1, -1).astype(float))
    changed = change_gamma(whole, float(numbers["gamma.value"]))
    assert_allclose(changed.flatten(), numbers["gamma.out_seed3"].ravel(), rtol=1e-9)


def test_a_shift_moves_image_and_mask_together() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 10:14, 10:14] = 1.0
    matrix = np.array([[1, 0, 3], [0, 1, 5], [0, 0, 1.0]])
    moved = warp_affine(image, matrix)
    assert torch.allclose(moved[0, 0, 15:19, 13:17], torch.ones(4, 4), atol=1e-5)
    assert float(moved.sum()) == np.float32(16.0) or abs(float(moved.sum()) - 16) < 1e-4


def test_a_view_can_be_replayed_and_masks_stay_binary() -> None:
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:40, 20:40] = 1
    view = draw_view(np.random.default_rng(3), OPTIONS, (64, 64))
    first, again = (apply_view(image, mask, view, OPTIONS) for _ in range(2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert set(first[1].unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first[0], image)
    plain = apply_view(image, mask, PLAIN, OPTIONS)
    assert torch.equal(plain[0], image) and torch.equal(plain[1], mask)
