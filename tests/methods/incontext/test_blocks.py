"""The blocks of the in-context network against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.methods.incontext.blocks import (
    Pooled,
    Scale,
    SoftRegistration,
    prototype_similarity,
    squared_distances,
    warp,
)
from dpcenet.methods.incontext.model import correspondence_loss


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


def test_labels_of_the_same_slices_are_moved_together() -> None:
    """Three labels of two slices, each slice shown by two supports: as one label after another."""
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(2, 6, 12, generator=generator).softmax(-1)
    support = torch.rand(2, 2, 4, 2, 3, generator=generator).repeat_interleave(3, 0)
    mask = torch.rand(6, 2, 1, 2, 3, generator=generator)
    each = torch.cat([support, mask], 2).movedim(2, -1).flatten(1, 3)
    expected = np.einsum("npq,nqc->ncp", attention.numpy().repeat(3, 0), each.numpy())
    found = Scale(support, mask).warped(attention, targets=3)
    np.testing.assert_allclose(found.flatten(2).numpy(), expected, atol=1e-6)


def test_similarity_against_numpy() -> None:
    rng = np.random.default_rng(0)
    support, query = rng.normal(size=(1, 2, 4, 3, 5)), rng.normal(size=(1, 4, 3, 5))
    mask = rng.random((1, 2, 1, 3, 5))
    shown = Pooled.of(Scale(torch.tensor(support), torch.tensor(mask)))
    ours = prototype_similarity(shown, torch.tensor(query), 2).numpy()
    centre = support.mean((0, 1, 3, 4))
    for place, weight in enumerate((mask, 1 - mask)):
        prototype = ((support - centre[None, None, :, None, None]) * weight).sum((0, 1, 3, 4))
        for group in (0, 1):
            channels = slice(2 * group, 2 * group + 2)
            p, q = prototype[channels], query[0, channels] - centre[channels, None, None]
            length = np.sqrt((q**2).sum(0) + 1e-4)  # which keeps flat places at 0
            cosine = np.einsum("c,cyx->yx", p / np.linalg.norm(p), q / length)
            found = ours[0, :, 2 * place + group].reshape(3, 5)
            np.testing.assert_allclose(found, cosine, atol=1e-6)


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


def test_what_is_carried_is_what_the_weights_say() -> None:
    """`carry` never holds the weights of `forward`, which are of cosines less distances."""
    torch.manual_seed(0)
    support = torch.nn.functional.normalize(torch.randn(2, 3, 8, 4, 6), dim=2)
    query = torch.nn.functional.normalize(torch.randn(2, 8, 4, 6), dim=1)
    values = torch.randn(2, 3 * 24, 11)
    align = SoftRegistration()
    with torch.no_grad():
        penalty = squared_distances(query) * align.nearness.exp()
        cosine = query.flatten(2).mT @ support.transpose(1, 2).flatten(2)
        weights = torch.softmax(cosine * align.sharpness.exp() - penalty.repeat(1, 3), -1)
        torch.testing.assert_close(align(support, query), weights)
        torch.testing.assert_close(align.carry(support, query, values), weights @ values)
