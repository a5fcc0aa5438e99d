"""The encoder of every method: a trunk by name, its weights, and whether it is trained."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.nn import vgg
from dpcenet.nn.own_trunk import SHIPPED, OwnTrunk, shipped_file
from dpcenet.nn.resnet import Layout, ResNet
from dpcenet.nn.weights import LoadReport, load_weights

CLASS_SCORES = "fc"  # the output from which Q-Net and RPT read a threshold
TrunkName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "own"]
Trunk = ResNet | vgg.VGG16 | OwnTrunk


@dataclass(frozen=True)
class EncoderOptions:
    """Which trunk, and how it is used.

    Attributes:
        name: the trunk; "own" is the pyramid of the in-context network.
        layout: where a ResNet dilates instead of striding (`nn.resnet.LAYOUTS`); VGG-16 and "own"
            have one layout only and take no notice.
        outputs: which tensors to return: "layer1" … "layer4", "avgpool", "fc" of a ResNet,
            "block5" of VGG-16, "cells", "deep", "fc" of "own".
        frozen: keep the trunk as it is: no gradient, and batch norm with its running statistics.
        weights: a local file of pretrained weights, "shipped" for those of "own" that come with the
            package, or None for random ones.
        size: of "own", pixels of the longer side of a slice inside the network.
    """

    name: TrunkName = "resnet50"
    layout: Layout = "os8"
    outputs: tuple[str, ...] = ("layer3",)
    frozen: bool = False
    weights: str | None = None
    size: int = 96


class Encoder(nn.Module):
    """Slices → named features.

    Slices are normalised per volume before they come here (mean 0, deviation 1) and are fed to the
    trunk's three channels alike. ImageNet's mean and deviation are not applied on top; the
    official code of the whole family does not do so either.

    Weights without a classification layer (COCO's DeepLabV3) leave "fc" at its random start,
    as in the official code of Q-Net, RPT and GMRD; `load_report.kept` then names it.

    Attributes:
        channels: the number of channels of each output.
        load_report: what was left out when the weights were loaded; None without weights.

    Raises:
        ConfigError: an unknown trunk, layout or output.
        WeightsError: the file of weights cannot be read or does not fit.
    """

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.options = options
        self.trunk = _build(options)
        self.channels: dict[str, int] = dict(self.trunk.channels)
        self.load_report = None
        if options.weights is not None:
            self.load_report = _load(self.trunk, options.weights)
        if options.frozen:
            self.trunk.requires_grad_(False)
            self.trunk.eval()

    def train(self, mode: bool = True) -> Encoder:
        """As of any module, but a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.options.frozen:
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The trunk's outputs for slices (B, 1, H, W) float, by name.

        Feature maps are (B, C, h, w); they may lie in channels-last memory, so use `reshape`, not
        `view`.
        """
        # Channels-last is up to a fifth faster, and a step of a trunk in training by half in
        # bfloat16. In float32 that gains nothing, and the order stays in which the official code
        # sums: batch statistics of two images amplify rounding (3e-4 of a map).
        fixed = self.options.frozen or not self.training
        fixed |= torch.is_autocast_enabled(images.device.type)
        layout = torch.channels_last if fixed else torch.contiguous_format
        coloured = images.expand(-1, 3, -1, -1).contiguous(memory_format=layout)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.options.frozen):
            features: dict[str, Tensor] = self.trunk(coloured)
            return features


def _build(options: EncoderOptions) -> Trunk:
    if options.name == "own":
        return OwnTrunk(options.outputs, options.size)
    if options.name == "vgg16":
        if options.outputs != (vgg.OUTPUT,):
            raise ConfigError(f"vgg16 outputs {list(options.outputs)}: it has only {vgg.OUTPUT!r}")
        return vgg.VGG16()
    depth = options.name.removeprefix("resnet")
    if not depth.isdecimal():
        raise ConfigError(f"encoder name {options.name!r}: choose own, resnet18/34/50/101 or vgg16")
    return ResNet(int(depth), options.layout, options.outputs)


def _load(trunk: Trunk, path: str) -> LoadReport:
    """Torchvision's classification and DeepLabV3 files fit, and files with the names here; to "own"
    those of an in-context network."""
    if isinstance(trunk, OwnTrunk):
        with shipped_file() if path == SHIPPED else nullcontext(Path(path)) as file:
            return load_weights(trunk, file, ignore=("align.", "matcher."))
    if isinstance(trunk, vgg.VGG16):
        return load_weights(trunk, path, rename=vgg.torchvision_names(), ignore=("classifier.",))
    unbuilt = tuple(f"{layer}." for layer in trunk.unbuilt)
    return load_weights(
        trunk,
        path,
        prefix="backbone.",
        ignore=("classifier.", "aux_classifier.", *unbuilt),
        keep=("fc.",),
    )
