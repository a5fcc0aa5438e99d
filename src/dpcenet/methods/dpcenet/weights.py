"""The DPCENet that comes with the package: the trunk of this project, and a head trained on
made-up pairs only (`experiments/ship_dpcenet.py`).

Its model card lies beside the weights: `src/dpcenet/assets/models/dpcenet.md`.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.dpcenet.options import Options
from dpcenet.nn.own_trunk import SHIPPED
from dpcenet.nn.weights import load_weights, package_file
from dpcenet.system.assets import asset
from dpcenet.system.structured import parse_yaml
from dpcenet.system.validated import validated

FILE = "dpcenet.safetensors"
SHA256 = "de2f5b31e0936c4c3328239ccf3de172fb58ec060b9b98540825f42669e37766"
"""Of the file; the head fits the trunk of `nn.own_trunk.SHA256` only."""


def build(options: Options) -> DPCENet:
    """The network, with the weights of its head where there are any.

    Raises:
        WeightsError: the file of the package is not the one that this version was made with, or
            another file is missing or belongs to another network.
    """
    network = DPCENet(options)
    if options.head is not None:
        shipped = options.head == SHIPPED
        with package_file(FILE, SHA256) if shipped else nullcontext(Path(options.head)) as path:
            load_weights(network, path, keep=("encoder.",))
    return network


def shipped_options() -> Options:
    """Those of the preset `dpcenet/shipped`."""
    source = f"presets/dpcenet/{SHIPPED}.yaml"
    preset = parse_yaml(asset(source).read_text("utf-8"), source)
    return validated(Options, preset["options"], source, "options")
