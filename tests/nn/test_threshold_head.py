"""ADNet's head: prototypes of upsampled features, thresholds, ties and corners."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.nn.pooling import mean_prototype
from dpcenet.nn.similarity import (
    enlarged_log_probs,
    foreground_probability,
    hard_cells,
    prototype_probability,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_mean_prototype_is_that_of_features_upsampled_to_the_masks() -> None:
    features = normal(2, 5, 4, 7)
    masks = (normal(2, 13, 17, seed=1) > 0).double()
    for align_corners in (False, True):
        large = F.interpolate(features, (13, 17), mode="bilinear", align_corners=align_corners)
        sums = (large * masks[:, None]).sum(dim=(2, 3))
        shots = sums / (masks.sum(dim=(1, 2))[:, None] + 1e-5)
        found = mean_prototype(features, masks, align_corners)
        assert_allclose(found.numpy(), shots.mean(dim=0)[None].numpy(), rtol=1e-12)


def test_each_query_may_have_its_own_prototype_and_threshold() -> None:
    query, prototypes, thresholds = normal(3, 5, 4, 6), normal(3, 5), torch.tensor([-9.0, 0, 3])
    found = foreground_probability(query, prototypes, thresholds.double()[:, None])
    for q, p, t, got in zip(query.numpy(), prototypes.numpy(), thresholds, found, strict=True):
        norms = np.linalg.norm(q, axis=0) * np.linalg.norm(p)
        cosine = np.einsum("chw,c->hw", q, p) / norms
        assert_allclose(got.numpy(), 1 / (1 + np.exp(-(10 * cosine + float(t) / 2))), rtol=1e-10)


def test_prototype_probability_is_half_where_the_cosine_meets_the_threshold() -> None:
    support = torch.zeros(1, 2, 1, 1)
    support[0, 0] = 1
    query = torch.tensor([0.6, 0.8]).reshape(1, 2, 1, 1)  # cosine 0.6
    for threshold, side in ((-12.001, -1), (-12.0, 0), (-11.999, 1)):
        found = prototype_probability(
            support, torch.ones(1, 1, 1), query, torch.tensor([threshold])
        ).item()
        assert np.sign(round(found - 0.5, 6)) == side


def test_a_tie_is_background() -> None:
    cells = torch.tensor([0.5, 0.5000001, 0.4999999], requires_grad=True)
    hard = hard_cells(cells)
    assert hard.tolist() == [0.0, 1.0, 0.0]
    assert not hard.requires_grad


def test_corner_cells_are_corner_pixels() -> None:
    cells = normal(1, 3, 4).sigmoid()
    pixels = enlarged_log_probs(cells, (9, 11)).exp()
    corners = pixels[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    wanted = cells[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert_allclose(corners[:, 1].numpy(), wanted.numpy())
    assert_allclose(corners.sum(dim=1).numpy(), 1)
