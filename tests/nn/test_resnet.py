"""The ResNet trunks: names, sizes, layouts, and that nothing unused is built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dpcenet.errors import ConfigError
from dpcenet.nn.resnet import ResNet

# Published sizes of torchvision's models with their classification layer.
PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}


def seeded(depth: int, layout: str, outputs: tuple[str, ...]) -> ResNet:
    """A network in evaluation mode whose weights depend on the depth and the outputs only."""
    torch.manual_seed(depth)
    return ResNet(depth, layout, outputs).eval()


@pytest.mark.parametrize("depth", PARAMETERS)
def test_number_of_parameters_is_torchvisions(depth: int) -> None:
    network = ResNet(depth, "os32", ("fc",))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[depth]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize(
    ("layout", "cells"),
    [("os8", (16, 8, 8, 8)), ("64+32", (16, 16, 16, 8)), ("os32", (16, 8, 4, 2))],
)
def test_cells_and_channels(depth: int, layout: str, cells: tuple[int, ...]) -> None:
    names = ("layer1", "layer2", "layer3", "layer4")
    network = seeded(depth, layout, (*names, "avgpool", "fc"))
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 64, 64))
    widths = [64 * 2**i * (4 if depth == 50 else 1) for i in range(4)]
    expected = {n: (1, w, c, c) for n, w, c in zip(names, widths, cells, strict=True)}
    expected |= {"avgpool": (1, widths[3]), "fc": (1, 1000)}
    assert {name: tuple(tensor.shape) for name, tensor in maps.items()} == expected
    assert network.channels == {name: shape[1] for name, shape in expected.items()}


def test_dilations_of_the_two_scale_layout() -> None:
    """Layer 2: 1 in block 0, then 2; layer 3: 2, then 4; layer 4: stride 2 and 4 throughout."""
    network = ResNet(50, "64+32", ("layer4",))
    dilations: dict[str, list[int]] = {}
    strides: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith("conv2"):
            dilations.setdefault(name.split(".")[0], []).append(module.dilation[0])
            strides[name] = module.stride[0]
    assert dilations == {
        "layer1": [1, 1, 1],
        "layer2": [1, 2, 2, 2],
        "layer3": [2, 4, 4, 4, 4, 4],
        "layer4": [4, 4, 4],
    }
    assert [name for name, stride in strides.items() if stride != 1] == ["layer4.0.conv2"]


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("layout", ["os8", "64+32"])
def test_dilated_network_holds_the_strided_one(depth: int, layout: str) -> None:
    """À-trous property: every k-th cell of the dense map is the cell of the strided network."""
    names = ("layer2", "layer3", "layer4")
    dense, strided = seeded(depth, layout, names), seeded(depth, "os32", names)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        fine, coarse = dense(images), strided(images)
    for name in names:
        step = fine[name].shape[-1] // coarse[name].shape[-1]
        tolerance = 1e-5 * float(coarse[name].abs().max())
        torch.testing.assert_close(
            fine[name][:, :, ::step, ::step], coarse[name], rtol=0, atol=tolerance
        )
        assert step == {"os8": (1, 2, 4), "64+32": (2, 4, 4)}[layout][names.index(name)]


def test_only_what_the_outputs_need_is_built() -> None:
    network = ResNet(18, "os8", ("layer2",))
    parts = {name.split(".")[0] for name in network.state_dict()}
    assert parts == {"conv1", "bn1", "layer1", "layer2"}
    assert network.unbuilt == ("layer3", "layer4", "fc")


@pytest.mark.parametrize("outputs", [("layer3", "layer4"), ("layer4", "layer3"), ("layer1", "fc")])
def test_every_built_parameter_gets_a_gradient(outputs: tuple[str, ...]) -> None:
    network = ResNet(18, "os8", outputs)
    maps = network(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)))
    assert tuple(maps) == outputs
    torch.stack([tensor.square().mean() for tensor in maps.values()]).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_avgpool_is_the_mean_over_the_cells() -> None:
    network = seeded(18, "os8", ("layer4", "avgpool"))
    with torch.no_grad():
        maps = network(torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(3)))
    expected = maps["layer4"].numpy().reshape(2, 512, -1).mean(axis=2)
    torch.testing.assert_close(maps["avgpool"], torch.from_numpy(expected))


@pytest.mark.parametrize(
    ("depth", "layout", "outputs"),
    [(51, "os8", ("layer3",)), (50, "os9", ("layer3",)), (50, "os8", ("layer5",)), (50, "os8", ())],
)
def test_unknown_choices_are_refused(depth: int, layout: str, outputs: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        ResNet(depth, layout, outputs)  # type: ignore[arg-type]
