"""The in-context network that comes with the package, trained on made-up images only.

Its model card lies beside the weights: `src/dpcenet/assets/models/incontext.md`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dpcenet.errors import WeightsError
from dpcenet.methods.incontext import model as incontext
from dpcenet.methods.incontext.model import InContext

FILE = "incontext.safetensors"
SHA256 = "756383cdce2d1906c4a9d5bce0a986997820e556b418a44a3f2b37af74c9a769"


@dataclass(frozen=True)
class Options:
    """Which weights, and the size of the network.

    Attributes:
        weights: "shipped", a file of `dpcenet pretrain`, or None for random ones (a checkpoint
            brings its own).
        size: pixels of the longer image side inside the network.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of `size`.
    """

    weights: str | None = "shipped"
    size: int = 96
    widths: tuple[int, int, int, int] = (32, 48, 96, 192)


def build(options: Options) -> InContext:
    """The network with its weights.

    Raises:
        WeightsError: the file of the package is not the one that this version was made with, or
            another file is missing or of another network.
    """
    shape = incontext.Options(size=options.size, widths=options.widths)
    if options.weights not in (None, "shipped"):
        return incontext.load_weights(Path(options.weights), shape)
    network = InContext(shape)
    if options.weights == "shipped":
        _load(network)
    return network


def _load(network: InContext) -> None:
    content = (resources.files("dpcenet") / "assets" / "models" / FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise WeightsError(f"{FILE}: not the weights of this version; install the package again")
    incontext.fill(network, content, FILE)
