"""ResNet trunks with torchvision's parameter names, so that its official weight files fit.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; version 1.5, where a
bottleneck strides in its 3×3 convolution. Dilation instead of stride: Yu et al., "Dilated Residual
Networks", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.errors import ConfigError

Layout = Literal["os8", "64+32", "os32"]

# Whether layer2, layer3 and layer4 keep the resolution and dilate instead of striding.
LAYOUTS: dict[str, tuple[bool, bool, bool]] = {
    "os8": (False, True, True),  # ADNet, SSL-ALPNet, CAT-Net: 32×32 cells of a 256×256 slice
    "64+32": (True, True, False),  # Q-Net, RPT, GMRD: layer3 64×64 cells, layer4 32×32
    "os32": (False, False, False),  # the classification network
}
STAGES = ("layer1", "layer2", "layer3", "layer4")
POOLED = ("avgpool", "fc")
CLASSES = 1000
LOWERED = STAGES[1:]  # what an evaluation may run in bfloat16


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (ResNet-18 and -34).

    The first convolution samples the grid that the block is given, so it has that grid's dilation;
    the second one samples the grid after the (suppressed) stride.
    """

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int, first_dilation: int, dilation: int
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride, first_dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut (ResNet-50 and -101).

    Only the 3×3 convolution strides or dilates, so `dilation` has no further place in this block.
    """

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int, first_dilation: int, dilation: int
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride, first_dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """A ResNet that builds and runs only what its outputs need.

    Args:
        depth: 18, 34, 50 or 101.
        layout: where dilation replaces stride, a key of `LAYOUTS`.
        outputs: which tensors `forward` returns: "layer1" … "layer4" (B, C, h, w), "avgpool"
            (B, C), the mean of layer4 over the cells, "fc" (B, 1000), the class scores.

    Convolutions start from Kaiming-normal numbers of torch's default generator, which the caller
    seeds.

    Attributes:
        channels: the number of channels of each output.
        unbuilt: names of the layers that no output needs; a weight file may hold them.

    Raises:
        ConfigError: an unknown depth, layout or output.
    """

    def __init__(
        self, depth: int, layout: Layout = "os8", outputs: Sequence[str] = ("layer4",)
    ) -> None:
        super().__init__()
        _check(depth, layout, outputs)
        block, counts = DEPTHS[depth]
        pooled = any(name in POOLED for name in outputs)
        last = 3 if pooled else max(STAGES.index(name) for name in outputs)
        self.outputs = tuple(outputs)
        self.stages = STAGES[: last + 1]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, reached, sizes = 64, 1, {}
        for index, name in enumerate(self.stages):
            keep = index > 0 and LAYOUTS[layout][index - 1]
            stride = 1 if index == 0 or keep else 2
            before, reached = reached, reached * 2 if keep else reached
            width = 64 * 2**index
            self.add_module(
                name, _stage(block, inputs, width, counts[index], stride, before, reached)
            )
            inputs = sizes[name] = width * block.expansion
        self.fc = nn.Linear(inputs, CLASSES) if "fc" in outputs else None
        sizes |= {"avgpool": inputs, "fc": CLASSES}
        self.channels = {name: sizes[name] for name in self.outputs}
        self.unbuilt = (*STAGES[last + 1 :], *(("fc",) if self.fc is None else ()))
        _initialise(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs for images (B, 3, H, W) float, by name and in the order asked for."""
        # In bfloat16 the stem and layer1 made more than four fifths of the features' error (5 % of
        # a ResNet-50's maps, 1 % without them) in a tenth of the time. A trunk in training has
        # noise of its own.
        kind = images.device.type
        lowered = self.training and torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=lowered):
            x = F.relu(self.bn1(self.conv1(images)), inplace=True)
            x = self.get_submodule("layer1")(F.max_pool2d(x, 3, stride=2, padding=1))
        maps = {"layer1": x}
        for name in self.stages[1:]:
            stage = self.get_submodule(name)
            held = next(stage.parameters()).dtype
            x = maps[name] = stage(x if held == torch.float32 else x.to(held))
        with torch.autocast(kind, enabled=lowered):
            if any(name in POOLED for name in self.outputs):
                maps["avgpool"] = x.to(self.conv1.weight.dtype).mean(dim=(2, 3))
            if self.fc is not None:
                maps["fc"] = self.fc(maps["avgpool"])
        return {name: maps[name] for name in self.outputs}


def _check(depth: int, layout: str, outputs: Sequence[str]) -> None:
    unknown = [name for name in outputs if name not in (*STAGES, *POOLED)]
    if depth not in DEPTHS:
        raise ConfigError(f"ResNet depth {depth}: choose one of {sorted(DEPTHS)}")
    if layout not in LAYOUTS:
        raise ConfigError(f"ResNet layout {layout!r}: choose one of {sorted(LAYOUTS)}")
    if unknown or not outputs:
        raise ConfigError(f"ResNet outputs {list(outputs)}: choose from {[*STAGES, *POOLED]}")


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    width: int,
    count: int,
    stride: int,
    before: int,
    dilation: int,
) -> nn.Sequential:
    """`count` blocks; the first one strides and samples the grid of dilation `before`."""
    first = block(inputs, width, stride, before, dilation)
    outputs = width * block.expansion
    rest = (block(outputs, width, 1, dilation, dilation) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """A projection where the block changes the shape, else None."""
    if stride == 1 and inputs == outputs:
        return None
    convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
