"""The in-context network that comes with the package, trained on made-up images only.

Its model card lies beside the weights: `src/dpcenet/assets/models/incontext.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from dpcenet.methods.base import MethodOptions
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.nn.own_trunk import SHIPPED, WIDTHS, shipped_file
from dpcenet.nn.pyramid import Widths
from dpcenet.nn.weights import load_weights


@dataclass(frozen=True)
class Options(MethodOptions):
    """Which weights, and the size of the network.

    Attributes:
        weights: "shipped", a file of `dpcenet pretrain`, or None for random ones.
        size: pixels of the longer image side inside the network.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of `size`.
    """

    weights: str | None = SHIPPED
    size: int = 96
    widths: Widths = WIDTHS

    def with_weights(self, weights: str | None) -> Self:
        return replace(self, weights=weights)


def build(options: Options) -> InContext:
    """The network with its weights.

    Raises:
        WeightsError: the file of the package is not the one that this version was made with, or
            another file is missing or belongs to another network.
    """
    shape = NetworkOptions(size=options.size, widths=options.widths)
    if options.weights is None:
        return InContext(shape)
    if options.weights != SHIPPED:
        return load_network(Path(options.weights), shape)
    with shipped_file() as path:
        return load_network(path, shape)


def load_network(path: Path, options: NetworkOptions | None = None) -> InContext:
    """The network with the weights of a file, ready to evaluate.

    Raises:
        WeightsError: the file is missing, or belongs to another network.
    """
    network = InContext(options)
    load_weights(network, path)
    return network.eval()
