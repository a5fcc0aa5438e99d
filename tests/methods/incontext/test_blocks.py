"""The blocks of the in-context network against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.methods.incontext.blocks import (
    SoftRegistration,
    correspondence_loss,
    prototype_similarity,
    squared_distances,
    warp,
)


def test_moved_maps_come_from_where_the_attention_points() -> None:
    """An attention that shifts by one place to the right, and takes the mean of two supports."""
    support = torch.arange(12.0).view(1, 2, 1, 2, 3)
    attention = torch.zeros(1, 6, 12)
    for row in range(2):
        for column in range(3):
            source = row * 3 + (column + 1) % 3
            attention[0, row * 3 + column, [source, 6 + source]] = 0.5
    expected = support.mean(1).roll(-1, -1)
    torch.testing.assert_close(warp(attention, support), expected)


def test_similarity_against_numpy() -> None:
    rng = np.random.default_rng(0)
    support, query = rng.normal(size=(1, 2, 4, 3, 5)), rng.normal(size=(1, 4, 3, 5))
    weight = rng.random((1, 2, 1, 3, 5))
    ours = prototype_similarity(*(torch.tensor(a) for a in (support, weight, query)), 2).numpy()
    centre = support.mean((0, 1, 3, 4))
    prototype = ((support - centre[None, None, :, None, None]) * weight).sum((0, 1, 3, 4))
    for group in (slice(0, 2), slice(2, 4)):
        p, q = prototype[group], query[0, group] - centre[group, None, None]
        length = np.sqrt((q**2).sum(0) + 1e-4)  # which keeps flat places at 0
        cosine = np.einsum("c,cyx->yx", p / np.linalg.norm(p), q / length)
        np.testing.assert_allclose(ours[0, group.start // 2], cosine, atol=1e-6)


def test_distances_between_places() -> None:
    distances = squared_distances(torch.zeros(1, 1, 2, 4))
    assert distances.shape == (8, 8)
    assert distances[0, 3].item() == pytest.approx((3 * 0.5) ** 2)  # along the longer side of 2
    assert distances[0, 4].item() == pytest.approx(0.5**2)


def test_correspondence_loss_against_numpy() -> None:
    rng = np.random.default_rng(1)
    attention = rng.random((1, 4, 4))
    attention /= attention.sum(-1, keepdims=True)
    support = np.array([[[0, 1], [1, 2]]]).repeat(4, 1).repeat(4, 2)
    query = np.array([[[1, 1], [3, 0]]]).repeat(4, 1).repeat(4, 2)
    ours = correspondence_loss(*(torch.tensor(a) for a in (attention, support, query)))
    a = attention[0]
    right = [a[0, 1] + a[0, 2], a[1, 1] + a[1, 2], a[3, 0]]  # label 3 is not in the support
    assert ours.item() == pytest.approx(-np.log(right).mean())


def test_alignment_finds_the_same_slice() -> None:
    """With equal keys and strong preference for the alike, each place attends mostly to itself."""
    keys = torch.nn.functional.normalize(torch.randn(1, 16, 4, 4), dim=1)
    with torch.no_grad():
        attention = SoftRegistration()(keys[:, None], keys)
    assert torch.equal(attention[0].argmax(1), torch.arange(16))
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 16))
