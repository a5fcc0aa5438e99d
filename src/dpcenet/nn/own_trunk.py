"""The trunk of this project: the in-context network's pyramid, for any method.

Trained on made-up images only, its weights come with the package. At 96 pixels a slice has 24 × 24
cells, and cells of the same place in two patients are alike.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.nn.pyramid import Pyramid, at_network_size, doubled
from dpcenet.nn.weights import package_file

SHIPPED = "shipped"  # in place of a file: the weights that come with the package
FILE = "incontext.safetensors"
SHA256 = "b8cde72f4a2f44fdb6f0673b0b446ef737dbaec7e8991b34ddc76c6435fe4060"
WIDTHS = (32, 48, 96, 192)  # of the shipped network
CELLS, DEEP, SUMMARY = "cells", "deep", "fc"


class OwnTrunk(nn.Module):
    """Slices → named features.

    "cells" (144 channels, 1/4 of `size`): the keys of the soft registration beside the maps at 1/8,
    enlarged, each of length 1 in every cell; from the latter the slice's mean is taken first.
    "deep" (192, 1/16): the last map, less its mean. "fc" (192): the mean of the last map, from
    which Q-Net and RPT read a threshold.

    Args:
        outputs: which of them.
        size: pixels of the longer side of a slice inside the network.

    Raises:
        ConfigError: an output that it does not have.
    """

    def __init__(self, outputs: tuple[str, ...], size: int) -> None:
        super().__init__()
        _, middle, coarse, deep = WIDTHS
        widths = {CELLS: middle + coarse, DEEP: deep, SUMMARY: deep}
        if not outputs or not set(outputs) <= set(widths):
            raise ConfigError(f"encoder outputs {list(outputs)}: trunk own has {list(widths)}")
        self.size = size
        self.channels = {name: widths[name] for name in outputs}
        self.pyramid = Pyramid(WIDTHS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs of slices (B, C, H, W), whose channels are alike."""
        maps = self.pyramid(at_network_size(images[:, :1], self.size))
        coarse, deep = (maps[name] - maps[name].mean((2, 3), keepdim=True) for name in LESS_MEAN)
        cells = torch.cat([maps["key"], F.normalize(doubled(coarse))], 1)
        found = {CELLS: cells, DEEP: deep, SUMMARY: maps["deep"].mean((2, 3))}
        return {name: found[name] for name in self.channels}


LESS_MEAN = ("coarse", "deep")  # the mean says more of the scanner than of the place


def shipped_file() -> AbstractContextManager[Path]:
    """The weights of the package, as a file.

    Raises:
        WeightsError: not the file that this version was made with.
    """
    return package_file(FILE, SHA256)
