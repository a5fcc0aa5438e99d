"""The trunk of this project: the shipped pyramid as an encoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dpcenet.errors import ConfigError
from dpcenet.methods.incontext.weights import Options, build
from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.nn.own_trunk import SHIPPED

OWN = EncoderOptions("own", outputs=("cells", "deep", "fc"), frozen=True, weights=SHIPPED)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 1, 96, 64, generator=torch.Generator().manual_seed(0))


def test_its_outputs_are_those_of_the_shipped_network() -> None:
    with torch.no_grad():
        found = Encoder(OWN)(images())
        network = build(Options()).eval().extract(images())
    key, coarse = found["cells"].split([48, 96], dim=1)
    assert found["cells"].shape == (2, 144, 24, 16)
    assert torch.allclose(key, network["key"], atol=1e-6)
    centred = network["coarse"] - network["coarse"].mean((2, 3), keepdim=True)
    enlarged = F.interpolate(centred, (24, 16), mode="bilinear")
    assert torch.allclose(coarse, enlarged / enlarged.norm(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(found["fc"], network["deep"].mean((2, 3)), rtol=1e-4, atol=1e-4)
    assert found["deep"].mean((2, 3)).abs().max() < 1e-5


def test_a_frozen_one_is_not_trained_and_another_is() -> None:
    assert not any(p.requires_grad for p in Encoder(OWN).parameters())
    trained = Encoder(EncoderOptions("own", outputs=("cells",), weights=SHIPPED))
    trained(images())["cells"].sum().backward()
    assert trained.trunk.pyramid.key.weight.grad is not None


def test_an_output_that_it_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="trunk own has"):
        Encoder(EncoderOptions("own", outputs=("layer3",)))
