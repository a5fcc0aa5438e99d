"""Every trained method has a preset on the trunk of this project, and learns from it."""

from __future__ import annotations

import pytest
import torch

from dpcenet.methods.registry import METHODS, build_method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.nn.own_trunk import SHIPPED
from dpcenet.training.config import load_preset
from dpcenet.types import Episode

TRAINED = sorted(set(METHODS) - {"copy", "incontext", "register"})


def made_episode() -> Episode:
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(3, 96, 96)
    masks[:, 30:62, 24:60] = 1
    images = torch.randn(3, 1, 96, 96, generator=generator) + 2 * masks[:, None]
    return Episode(images[:1], masks[:1], images[1:], masks[1:], seed=5)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_moves_the_head_and_leaves_the_trunk(name: str) -> None:
    torch.manual_seed(0)
    options = load_preset(f"{name}/own").options
    assert options.encoder.name == "own" and options.encoder.weights == SHIPPED
    method = build_method(name, options).train()
    episode = made_episode()
    prediction = method(episode)
    assert episode.query_masks is not None
    loss = segmentation_loss(prediction.log_probs, episode.query_masks)
    (loss + sum(prediction.losses.values(), torch.zeros(()))).backward()
    assert bool(loss.isfinite())
    moved = {k for k, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved and not any(k.startswith("encoder.") for k in moved)
