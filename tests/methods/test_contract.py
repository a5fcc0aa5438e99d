"""What every method promises, whatever it does inside."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.registry import METHODS, build_method
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import segmentation_loss
from dpcenet.types import Episode

SMALL: dict[str, dict[str, Any]] = {
    # What makes the default options small; the trunk is made small for all.
    "dpcenet": {"width": 16, "decoder_width": 4},
    "panet": {"width": 16},
    "adnet": {"width": 16},
    "ssl_alpnet": {"width": 16},
    "qnet": {"width": 16, "refine_steps": 2},
    "rpt": {"width": 16, "regions": 10, "hidden": 16},
    "gmrd": {"width": 16, "grid": (32, 32), "foreground": 6, "background": 8, "hidden": 4},
    "incontext": {"weights": None, "size": 64, "widths": (8, 16, 32, 32)},
    "catnet": {"width": 32, "blocks": 2},
}
METHOD_NAMES = sorted(METHODS)


def build(name: str) -> Method:
    """A method with default options, but a ResNet-18."""
    torch.manual_seed(0)
    options = METHODS[name].options(**SMALL.get(name, {}))
    if hasattr(options, "encoder"):
        wanted = options.encoder
        encoder = EncoderOptions("resnet18", wanted.layout, wanted.outputs)
        options = dataclasses.replace(options, encoder=encoder)
    return build_method(name, options)


def made_episode(shots: int = 1, queries: int = 2, size: tuple[int, int] = (64, 64)) -> Episode:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(shots + queries, 1, *size, generator=generator)
    masks = torch.zeros(shots + queries, *size)
    masks[:, 12:44, 16:52] = 1
    images = images + 2 * masks[:, None]
    return Episode(images[:shots], masks[:shots], images[shots:], masks[shots:], seed=5)


def total_loss(method: Method, episode: Episode) -> Tensor:
    prediction = method(episode)
    assert episode.query_masks is not None
    loss = segmentation_loss(prediction.log_probs, episode.query_masks)
    return loss + sum(prediction.losses.values(), torch.zeros(()))


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize(("shots", "size"), [(1, (64, 64)), (3, (61, 75))])
def test_probabilities_have_the_masks_size_and_sum_to_one(
    name: str, shots: int, size: tuple[int, int]
) -> None:
    method = build(name).eval()
    with torch.no_grad():
        prediction = method(made_episode(shots, 2, size))
    assert prediction.log_probs.shape == (2, 2, *size)
    assert not prediction.losses
    total = prediction.log_probs.exp().sum(dim=1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_the_querys_truth_never_reaches_the_prediction(name: str, training: bool) -> None:
    method = build(name).train(training)
    episode = made_episode()
    assert episode.query_masks is not None
    other = dataclasses.replace(episode, query_masks=1 - episode.query_masks)
    unknown = dataclasses.replace(episode, query_masks=None)
    found = []
    for task in (episode, other) if training else (episode, other, unknown):
        torch.manual_seed(0)
        with torch.no_grad():
            state = {k: v.clone() for k, v in method.state_dict().items()}
            found.append(method(task).log_probs)
            method.load_state_dict(state)  # batch norm's running statistics have moved
    assert all(torch.equal(found[0], one) for one in found[1:])


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_gradients_reach_what_is_trained(name: str) -> None:
    method = build(name).train()
    trained = {k: p for k, p in method.named_parameters() if p.requires_grad}
    if not trained:
        return
    total_loss(method, made_episode()).backward()
    without = [k for k, p in trained.items() if p.grad is None]
    assert not without
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in trained.values())


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_support_mask_gives_finite_numbers(name: str, training: bool) -> None:
    method = build(name).train(training)
    episode = made_episode()
    empty = dataclasses.replace(episode, support_masks=torch.zeros_like(episode.support_masks))
    prediction = method(empty)
    assert bool(prediction.log_probs.isfinite().all())
    assert all(bool(loss.isfinite()) for loss in prediction.losses.values())


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_same_input_gives_the_same_prediction(name: str) -> None:
    method = build(name).eval()
    with torch.no_grad():
        assert torch.equal(method(made_episode()).log_probs, method(made_episode()).log_probs)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_state_makes_the_round_trip(name: str) -> None:
    one, two = build(name).eval(), build(name).eval()
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.add_(1.0)
        two.load_state_dict(one.state_dict())
        assert torch.equal(one(made_episode()).log_probs, two(made_episode()).log_probs)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_queries_do_not_see_each_other(name: str) -> None:
    method = build(name).eval()
    episode = made_episode(queries=3)
    with torch.no_grad():
        support = method.encode(episode.support_images)
        query = method.encode(episode.query_images)
        together = method.match(support, episode.support_masks, query).log_probs
        alone = method.match(support, episode.support_masks, query.rows([1])).log_probs
    assert torch.allclose(together[1], alone[0], atol=1e-4)
