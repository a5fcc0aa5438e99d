"""The in-context network: what it must do for any shape, and its own arithmetic against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpcenet.methods.incontext import (
    InContext,
    Options,
    _similarity,
    _squared_distances,
    correspondence_loss,
)
from dpcenet.types import Episode, Features

SMALL = Options(size=64, widths=(8, 8, 16, 16))


@pytest.fixture(scope="module")
def network() -> InContext:
    torch.manual_seed(0)
    return InContext(SMALL)


def episode(shots: int, queries: int, height: int, width: int) -> Episode:
    draw = torch.Generator().manual_seed(1)

    def images(count: int) -> torch.Tensor:
        return torch.randn(count, 1, height, width, generator=draw)

    def masks(count: int) -> torch.Tensor:
        return (torch.rand(count, height, width, generator=draw) > 0.8).float()

    return Episode(images(shots), masks(shots), images(queries), masks(queries))


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("shape", [(64, 64), (61, 97)])
def test_log_probabilities_of_any_shape(
    network: InContext, shots: int, shape: tuple[int, int]
) -> None:
    task = episode(shots, 2, *shape)
    log_probs = network.train()(task).log_probs
    assert log_probs.shape == (2, 2, *shape)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(2, *shape))
    log_probs[:, 1].mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert without == ["matcher.presence.weight", "matcher.presence.bias"]  # only its own loss


def test_an_empty_support_mask_gives_numbers(network: InContext) -> None:
    task = episode(1, 2, 64, 64)
    empty = Episode(task.support_images, torch.zeros(1, 64, 64), task.query_images)
    with torch.no_grad():
        assert torch.isfinite(network(empty).log_probs).all()


def test_the_order_of_supports_and_the_company_of_queries_do_not_matter(
    network: InContext,
) -> None:
    task = episode(2, 3, 64, 64)
    with torch.no_grad():
        whole = network(task).log_probs
        turned = Episode(task.support_images.flip(0), task.support_masks.flip(0), task.query_images)
        torch.testing.assert_close(network(turned).log_probs, whole, atol=1e-5, rtol=1e-4)
        alone = Episode(task.support_images, task.support_masks, task.query_images[1:2])
        torch.testing.assert_close(network(alone).log_probs, whole[1:2], atol=1e-5, rtol=1e-4)


def test_presence_is_trained_only_when_the_truth_is_given(network: InContext) -> None:
    task = episode(1, 2, 64, 64)
    assert set(network.train()(task).losses) == {"presence"}
    assert not network.eval()(task).losses


def test_similarity_against_numpy() -> None:
    rng = np.random.default_rng(0)
    support, query = rng.normal(size=(1, 2, 4, 3, 5)), rng.normal(size=(1, 4, 3, 5))
    weight = rng.random((1, 2, 1, 3, 5))
    ours = _similarity(*(torch.tensor(a) for a in (support, weight, query)), 2).numpy()
    centre = support.mean((0, 1, 3, 4))
    prototype = ((support - centre[None, None, :, None, None]) * weight).sum((0, 1, 3, 4))
    for group in (slice(0, 2), slice(2, 4)):
        p, q = prototype[group], query[0, group] - centre[group, None, None]
        length = np.sqrt((q**2).sum(0) + 1e-4)  # which keeps flat places at 0
        cosine = np.einsum("c,cyx->yx", p / np.linalg.norm(p), q / length)
        np.testing.assert_allclose(ours[0, group.start // 2], cosine, atol=1e-6)


def test_distances_between_places() -> None:
    distances = _squared_distances(torch.zeros(1, 1, 2, 4))
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


def test_attention_finds_the_same_slice(network: InContext) -> None:
    """With equal keys and strong preference for the alike, each place attends mostly to itself."""
    keys = torch.nn.functional.normalize(torch.randn(1, 16, 4, 4), dim=1)
    align = network.align
    with torch.no_grad():
        attention = align(Features({"key": keys[:, None]}), Features({"key": keys}))
    assert torch.equal(attention[0].argmax(1), torch.arange(16))
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 16))
