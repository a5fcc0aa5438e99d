"""PANet's VGG-16 trunk: the convolutions at output stride 8.

Source: Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015; the changes (3×3
pooling, no stride in the fourth pool, dilation 2 and no last ReLU in the fifth block) are of Wang
et al., "PANet: Few-Shot Image Semantic Segmentation with Prototype Alignment", ICCV 2019.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

# Per block: convolutions, channels, dilation, stride of the pool after it (None: no pool).
BLOCKS = (
    (2, 64, 1, 2),
    (2, 128, 1, 2),
    (3, 256, 1, 2),
    (3, 512, 1, 1),
    (3, 512, 2, None),
)
OUTPUT = "block5"


class VGG16(nn.Module):
    """Thirteen 3×3 convolutions, 14 714 688 parameters, named `features.<block>.<index>`.

    Convolutions start from Kaiming-normal numbers of torch's default generator, which the caller
    seeds.

    Attributes:
        channels: the number of channels of each output.
    """

    channels: ClassVar[dict[str, int]] = {OUTPUT: 512}

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for count, outputs, dilation, pool in BLOCKS:
            layers.append(_block(count, inputs, outputs, dilation, last_relu=pool is not None))
            if pool is not None:
                layers.append(nn.MaxPool2d(3, stride=pool, padding=1))
            inputs = outputs
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """{"block5": (B, 512, H/8, W/8)} for images (B, 3, H, W) float."""
        return {OUTPUT: self.features(images)}


def torchvision_names() -> dict[str, str]:
    """Torchvision's name of each parameter → the name here, for its official `vgg16` file.

    Torchvision counts the layers of all blocks in one row: per convolution two (the ReLU), per
    pool one.
    """
    names, place = {}, 0
    for block, (count, *_) in enumerate(BLOCKS):
        for index in range(count):
            for kind in ("weight", "bias"):
                names[f"features.{place}.{kind}"] = f"features.{2 * block}.{2 * index}.{kind}"
            place += 2
        place += 1
    return names


def _block(
    count: int, inputs: int, outputs: int, dilation: int, *, last_relu: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        convolution = nn.Conv2d(
            inputs if index == 0 else outputs, outputs, 3, padding=dilation, dilation=dilation
        )
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers if last_relu else layers[:-1]))
