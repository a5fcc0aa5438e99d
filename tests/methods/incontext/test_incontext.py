"""The in-context network: what it must do for any shape, and its own arithmetic against NumPy."""

from __future__ import annotations

import pytest
import torch

from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.types import Episode

SMALL = NetworkOptions(size=64, widths=(8, 8, 16, 16))


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
