"""The prior against PFENet's equations, position by position."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from numpy.testing import assert_allclose

from dpcenet.methods.catnet.cascade import prior_maps

Array = npt.NDArray[np.float32]


def slow_prior(query: Array, support: Array, cells: Array) -> npt.NDArray[np.float64]:
    """One query (C, h, w) and one support (C, h, w) with its cells (h, w)."""
    masked = (support * cells).astype(np.float64)
    best = np.empty(query.shape[1:])
    for y, x in np.ndindex(*best.shape):
        position = query[:, y, x].astype(np.float64)
        found = []
        for v, u in np.ndindex(*cells.shape):
            other = masked[:, v, u]
            lengths = np.linalg.norm(position) * np.linalg.norm(other)
            found.append(position @ other / (lengths + 1e-7))
        best[y, x] = max(found)
    return (best - best.min()) / (best.max() - best.min() + 1e-7)


def numbers(shots: int, queries: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(3)
    support, query = (
        rng.normal(size=(count, 6, 4, 5)).astype(np.float32) for count in (shots, queries)
    )
    cells = (rng.random((shots, 4, 5)) * (rng.random((shots, 4, 5)) > 0.6)).astype(np.float32)
    return support, query, cells


def test_prior_is_the_min_max_of_the_largest_cosine_meant_over_shots() -> None:
    support, query, cells = numbers(shots=2, queries=3)
    found = prior_maps(*(torch.from_numpy(a) for a in (query, support, cells)))
    assert found.shape == (3, 1, 4, 5)
    for index in range(3):
        shots = [slow_prior(query[index], s, c) for s, c in zip(support, cells, strict=True)]
        assert_allclose(found[index, 0], np.mean(shots, axis=0), atol=1e-5)


def test_prior_of_an_empty_mask_is_zero_and_has_a_finite_gradient() -> None:
    support, query, cells = (torch.from_numpy(a) for a in numbers(1, 1))
    support.requires_grad_()
    prior = prior_maps(query, support, 0 * cells)
    prior.sum().backward()
    assert float(prior.detach().abs().max()) == 0
    assert support.grad is not None
    assert torch.isfinite(support.grad).all()
