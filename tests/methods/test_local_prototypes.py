"""Windows and soft assignment against NumPy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from dpcenet.methods.ssl_alpnet import assigned_score, local_prototypes, window_means

RANDOM = np.random.default_rng(0)


def test_windows_are_read_row_by_row_and_the_rest_is_left_out() -> None:
    maps = RANDOM.normal(size=(2, 3, 5, 7))
    wanted = [
        maps[b, :, y : y + 2, x : x + 2].mean(axis=(1, 2))
        for b in range(2)
        for y in (0, 2)
        for x in (0, 2, 4)
    ]
    assert_allclose(window_means(torch.tensor(maps), 2).numpy(), wanted)


def test_a_map_smaller_than_the_window_is_one_window_of_its_short_side() -> None:
    maps = RANDOM.normal(size=(1, 3, 2, 3))
    wanted = maps[0, :, :, :2].mean(axis=(1, 2))
    assert_allclose(window_means(torch.tensor(maps), 4).numpy(), wanted[None])


def test_a_window_counts_where_the_mask_covers_more_than_its_share() -> None:
    features = torch.tensor(RANDOM.normal(size=(1, 3, 4, 6)))
    masks = torch.zeros(1, 4, 6, dtype=torch.float64)
    masks[0, :2, :2] = 0.75  # exactly the share: not covered
    masks[0, :2, 2:4] = 0.76
    masks[0, 2:, 4:] = 1
    found = local_prototypes(features, masks, 2, 0.75).numpy()
    blocks = features[0, :, :2, 2:4], features[0, :, 2:, 4:]
    assert_allclose(found, [block.mean(dim=(1, 2)).numpy() for block in blocks])
    assert len(local_prototypes(features, masks * 0, 2, 0.75)) == 0


def test_the_score_is_the_softmax_weighted_mean_of_scaled_cosines() -> None:
    query, prototypes = RANDOM.normal(size=(2, 3, 4, 5)), RANDOM.normal(size=(7, 3))
    norms = (
        np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(prototypes, axis=1)[:, None, None]
    )
    d = 20 * np.einsum("nchw,kc->nkhw", query, prototypes) / norms
    wanted = (np.exp(d) * d).sum(axis=1) / np.exp(d).sum(axis=1)
    found = assigned_score(torch.tensor(query), torch.tensor(prototypes))
    assert_allclose(found.numpy(), wanted, rtol=1e-10)


def test_vectors_shorter_than_the_floor_score_less_than_their_direction() -> None:
    query = torch.full((1, 1, 1, 1), 5e-5)  # half of the floor
    assert_allclose(assigned_score(query, torch.ones(1, 1)).item(), 10, rtol=1e-6)
    assert assigned_score(query, torch.zeros(1, 1)).item() == 0
