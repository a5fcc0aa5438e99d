"""What all methods share: options that name a trunk, the one-scale encoder, and frozen weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dpcenet.errors import ConfigError
from dpcenet.methods import copy
from dpcenet.methods.base import MatchJob
from dpcenet.methods.incontext import weights as incontext
from dpcenet.methods.panet import Options, PANet
from dpcenet.methods.trunk_method import SingleScale
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.types import Features

TINY = EncoderOptions(name="resnet18", outputs=("layer1",))


class OneScale(PANet):
    """A method with nothing of its own but the shared encoder."""

    def __init__(self, encoder: EncoderOptions, width: int) -> None:
        super().__init__(Options(encoder=encoder, width=width))


def test_the_reduction_has_the_trunks_channels_and_no_bias() -> None:
    layer = OneScale(replace(TINY, outputs=("layer3",)), 12).reduce
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.shape == (12, 256, 1, 1) and layer.bias is None


def test_width_zero_leaves_the_features_as_they_are() -> None:
    method = OneScale(TINY, 0)
    maps = torch.randn(2, 64, 3, 3)
    assert isinstance(method, SingleScale)
    assert torch.equal(method.project(Features({"layer1": maps}))["features"], maps)


def test_several_outputs_are_refused_with_their_names() -> None:
    with pytest.raises(ConfigError, match=r"layer3.*layer4.*one scale"):
        OneScale(replace(TINY, outputs=("layer3", "layer4")), 8)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_names_are_what_training_leaves_as_it_is(frozen: bool) -> None:
    method = OneScale(replace(TINY, frozen=frozen), 4).train()
    assert method.trunk_frozen is frozen
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    features = method.encode(torch.randn(2, 1, 32, 32))["features"]
    features.square().sum().backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad + 1.0
    unchanged = {n for n, tensor in method.state_dict().items() if torch.equal(tensor, before[n])}
    assert unchanged == method.frozen_names()
    assert bool(unchanged) is frozen


def test_weights_of_the_options_are_set_and_taken_out() -> None:
    options = Options(encoder=TINY, width=7)
    given = options.with_weights("trunk.pth")
    assert given.trunk == replace(TINY, weights="trunk.pth") and given.width == 7
    assert given.without_weights() == options
    assert incontext.Options().without_weights().weights is None
    assert incontext.Options().trunk is None
    assert copy.Options().with_weights("trunk.pth") == copy.Options()


def test_jobs_are_matched_in_batches_and_in_their_order() -> None:
    method = copy.Copy(copy.Options()).eval()
    query = Features({"image": torch.zeros(5, 1, 4, 4)})
    masks = torch.zeros(2, 1, 4, 4)
    masks[1, 0, 1] = 1
    jobs = [MatchJob(Features({"image": torch.zeros(1, 1, 4, 4)}), m, query) for m in masks]
    first, second = method.match_each(jobs, batch=2)
    assert first.shape == second.shape == (5, 2, 4, 4)
    assert not (first[:, 1] > first[:, 0]).any()
    assert (second.argmax(dim=1) == masks[1]).all()
