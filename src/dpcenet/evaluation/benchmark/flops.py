"""Parameters and arithmetic of a method, counted on generated slices with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.training.config import Config
from dpcenet.types import Episode, Features

SLICE_SIZE = 256


class Arithmetic(NamedTuple):
    """Millions of parameters, and GFLOP on slices of 256×256 with one support.

    Attributes:
        parameters: of the whole network.
        trained: those with a gradient.
        test_slice: support and query encoded and matched.
        step: of training, without a bank of features.
        further_slice: one more query of the same support.
    """

    parameters: float
    trained: float
    test_slice: float
    step: float
    further_slice: float


def arithmetic(config: Config) -> Arithmetic:
    """Count a method once; the numbers do not depend on the machine."""
    torch.manual_seed(0)
    method = build_method(config.method, config.options.without_weights())
    episode = made_episode()
    every = sum(p.numel() for p in method.parameters()) / 1e6
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad) / 1e6
    method.eval()
    with torch.no_grad():
        test = giga_operations(lambda: method(episode))
        support = method.encode(episode.support_images)
        further = giga_operations(lambda: _further(method, support, episode))
    learns = trained > 0 and config.train.steps > 0
    step = giga_operations(lambda: _step(method.train(), config, episode)) if learns else 0.0
    return Arithmetic(every, trained, test, step, further)


def made_episode() -> Episode:
    """A support and a query with a disc in each."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(SLICE_SIZE), torch.arange(SLICE_SIZE), indexing="ij")
    disc = ((y - 120) ** 2 + (x - 110) ** 2 < 40**2).float()[None]
    images = torch.randn(2, 1, SLICE_SIZE, SLICE_SIZE, generator=generator) + 2 * disc
    return Episode(images[:1], disc, images[1:], disc, seed=0)


def giga_operations(run: Callable[[], object]) -> float:
    """GFLOP of a call: matrix products and convolutions, two operations per multiply-add."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def _further(method: Method, support: Features, episode: Episode) -> None:
    method.match(support, episode.support_masks, method.encode(episode.query_images))


def _step(method: Method, config: Config, episode: Episode) -> None:
    prediction = method(episode)
    assert episode.query_masks is not None
    loss = segmentation_loss(prediction.log_probs, episode.query_masks, config.train.class_weights)
    torch.stack([loss, *prediction.losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
