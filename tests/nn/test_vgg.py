"""PANet's VGG-16 trunk and its name table."""

from __future__ import annotations

import torch
from torch import nn

from dpcenet.nn.vgg import VGG16, torchvision_names


def test_size_and_stride() -> None:
    trunk = VGG16()
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 14_714_688
    with torch.no_grad():
        maps = trunk(torch.zeros(1, 3, 64, 64))
    assert {name: tuple(tensor.shape) for name, tensor in maps.items()} == {
        "block5": (1, 512, 8, 8)
    }


def test_last_convolution_has_no_relu() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        features = VGG16()(torch.randn(1, 3, 32, 32))["block5"]
    assert features.min() < 0 < features.max()


def test_names_agree_with_torchvisions_order() -> None:
    """The table pairs the published layer numbers with our convolutions, in the same order."""
    published = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = torchvision_names()
    assert list(names) == [f"features.{n}.{kind}" for n in published for kind in ("weight", "bias")]
    trunk = VGG16()
    assert list(names.values()) == list(trunk.state_dict())
    assert sum(isinstance(module, nn.Conv2d) for module in trunk.modules()) == len(published)
