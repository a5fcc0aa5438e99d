"""The 1×1 convolution after a trunk."""

from __future__ import annotations

import pytest
from torch import nn

from dpcenet.errors import ConfigError
from dpcenet.methods.base import reduction
from dpcenet.nn.encoder import Encoder, EncoderOptions


def test_it_takes_the_trunks_channels_and_has_no_bias() -> None:
    layer = reduction(Encoder(EncoderOptions(name="resnet18", outputs=("layer3",))), 12)
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.shape == (12, 256, 1, 1) and layer.bias is None


def test_width_zero_leaves_the_features_as_they_are() -> None:
    encoder = Encoder(EncoderOptions(name="resnet18", outputs=("layer3",)))
    assert not list(reduction(encoder, 0).parameters())


def test_several_outputs_are_refused_with_their_names() -> None:
    encoder = Encoder(EncoderOptions(name="resnet18", outputs=("layer3", "layer4")))
    with pytest.raises(ConfigError, match=r"layer3.*layer4.*one scale"):
        reduction(encoder, 8)
