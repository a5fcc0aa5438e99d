"""The trunks against numbers of the official encoders (backbones.npz).

The weights are not stored with the numbers: they follow from the parameters' names. The 1×1
convolutions and the linear layer after the trunk belong to the methods and are plain arithmetic.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from dpcenet.nn.resnet import ResNet
from dpcenet.nn.vgg import VGG16

Golden = Callable[[str], dict[str, npt.NDArray[np.float32]]]
TOLERANCE = 1e-5  # of the largest number of the map


@pytest.fixture(autouse=True)
def official_threads() -> Iterator[None]:
    """Two threads, as when the golden numbers were made.

    A hundred batch norms with the statistics of two small images amplify rounding: float32 is up
    to 3e-4 away from float64 in "train" mode, for the official numbers as for ours (1e-6 in "eval"
    mode). Only the same order of summation can be compared more closely, which is that of AVX-512.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def skip_other_sums(mode: str) -> None:
    """Skip what cannot be compared on this processor; see `official_threads`."""
    if mode == "train" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("without AVX-512 torch adds in another order, which 100 batch norms amplify")


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that the golden numbers' rule draws for a parameter's name."""
    normal = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if len(shape) == 4:
        values = normal * np.sqrt(2 / (shape[0] * shape[2] * shape[3]))
    elif len(shape) == 2:
        values = 0.02 * normal
    else:
        values = 0.1 * normal if name.endswith("bias") else 1 + 0.1 * normal
    return torch.from_numpy(values.astype(np.float32))


def draw_all(network: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(drawn(name, tuple(parameter.shape)))


@cache
def two_scales() -> ResNet:
    network = ResNet(101, "64+32", ("layer3", "layer4", "fc"))
    draw_all(network)
    return network


@cache
def deeplab() -> ResNet:
    network = ResNet(101, "os8", ("layer4",))
    draw_all(network)
    return network


def project(features: Tensor, name: str, outputs: int) -> Tensor:
    """A 1×1 convolution without bias."""
    weight = drawn(name, (outputs, features.shape[1], 1, 1))[:, :, 0, 0]
    return torch.einsum("oc,bchw->bohw", weight, features)


def run(network: ResNet, mode: str, images: npt.NDArray[np.float32]) -> dict[str, Tensor]:
    """One pass with the statistics of the batch ("train") or with mean 0, variance 1 ("eval")."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    network.train(mode == "train")
    with torch.no_grad():
        return network(torch.from_numpy(images))


def assert_near(found: Tensor, expected: npt.NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    error = np.abs(found.numpy() - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE, f"relative error {error:.1e}"


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_two_scale_resnet101(golden: Golden, mode: str) -> None:
    """Q-Net, RPT, GMRD: down2, down3 and the threshold."""
    skip_other_sums(mode)
    numbers = golden("backbones")
    maps = run(two_scales(), mode, numbers["x"])
    down2 = project(maps["layer3"], "reduce1.weight", 512)
    down3 = project(maps["layer4"], "reduce2.weight", 512)
    weight, bias = drawn("reduce1d.weight", (1, 1000)), drawn("reduce1d.bias", (1,))
    assert_near(down2[:, ::8], numbers[f"res101_TTF.{mode}.down2"])
    assert_near(down3[:, ::8], numbers[f"res101_TTF.{mode}.down3"])
    assert_near(maps["fc"] @ weight.T + bias, numbers[f"res101_TTF.{mode}.tao"])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_deeplab_resnet101(golden: Golden, mode: str) -> None:
    """ADNet, SSL-ALPNet, CAT-Net: the trunk at output stride 8 and its 1×1 convolution."""
    skip_other_sums(mode)
    numbers = golden("backbones")
    maps = run(deeplab(), mode, numbers["x"])
    found = project(maps["layer4"], "localconv.weight", 256)
    assert_near(found[:, ::4], numbers[f"deeplab_FTT.{mode}.localconv_out"])


def test_vgg16(golden: Golden) -> None:
    numbers = golden("backbones")
    trunk = VGG16()
    draw_all(trunk)
    with torch.no_grad():
        found = trunk(torch.from_numpy(numbers["x"]))["block5"]
    assert_near(found[:, ::8], numbers["vgg.out"])
