"""The in-context network as a MONAI bundle: configs, weights and a page about them.

OUT/configs/metadata.json     what the network takes and gives
OUT/configs/inference.json    the network, and `run`: one scan segmented from one labelled scan
OUT/models/model.safetensors  the weights
OUT/docs/README.md            how to call it

The bundle calls this package. Source: MONAI's manual, "MONAI Bundle Specification".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import dpcenet
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.methods.incontext.weights import load_network
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import write_atomically, write_json, write_text
from dpcenet.volumes.adapters import open_scan
from dpcenet.volumes.write_masks import write_mask

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
MONAI = "1.4.0"  # the oldest version whose bundles are of this form
CHANNELS = ("query", "labelled scan", "labels")


class PairNetwork(nn.Module):
    """The network with one tensor in and one out, as bundles want it.

    Args:
        weights: a file of `write_bundle`.
        size, widths: of the network; see `NetworkOptions`.
    """

    def __init__(self, weights: str, size: int, widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse, deep = widths
        options = NetworkOptions(size=size, widths=(fine, middle, coarse, deep))
        self.network = load_network(Path(weights), options)

    def forward(self, slices: Tensor) -> Tensor:
        """Slices (N, 3, H, W), channels as in `CHANNELS`, to probability (N, 2, H, W)."""
        query, support = (self.network.encode(slices[:, [n]]) for n in (0, 1))
        shots = support.apply(lambda x: x[:, None])
        attention = self.network.align(shots["key"], query["key"])
        logits, _ = self.network.compare(shots, slices[:, [2]], query, attention)
        return torch.stack([(-logits).sigmoid(), logits.sigmoid()], 1)


def segment_file(
    network: PairNetwork, query: str, support_image: str, support_mask: str, output: str
) -> str:
    """Segment one scan from one labelled scan; what `run` of the bundle does.

    Args:
        network: of the bundle, on its device.
        query, support_image, support_mask: paths of scans and labels.
        output: path of the mask, in any format that `dpcenet segment` writes but DICOM.

    Returns:
        the path.

    Raises:
        InputError: a file cannot be used.
    """
    device = next(network.parameters()).device
    segmenter = Segmenter(Predictor(network.network.eval(), "float32", device), None)
    scan = open_scan(query)
    mask = segmenter.find(scan, segmenter.support(support_image, support_mask)).mask
    write_mask(np.asarray(mask.data, np.uint8), Path(output), scan.grid)
    return output


def write_bundle(network: InContext, out: Path) -> None:
    """Write the bundle; MONAI is not needed for it.

    Args:
        network: the network.
        out: folder of the bundle.
    """
    state = {name: each.float().cpu().contiguous() for name, each in network.state_dict().items()}
    write_atomically(out / "models" / "model.safetensors", lambda part: save_file(state, part))
    write_json(out / "configs" / "metadata.json", _metadata())
    write_json(out / "configs" / "inference.json", _inference(network.options))
    write_text(out / "docs" / "README.md", _README)


def _inference(options: NetworkOptions) -> dict[str, Any]:
    module = "dpcenet.segmentation.monai_bundle"
    return {
        "bundle_root": ".",
        "device": "cpu",
        "query": "query.nii.gz",
        "support_image": "labelled.nii.gz",
        "support_mask": "labels.nii.gz",
        "output": "mask.nii.gz",
        "network_def": {
            "_target_": f"{module}.PairNetwork",
            "weights": "$@bundle_root + '/models/model.safetensors'",
            "size": options.size,
            "widths": list(options.widths),
        },
        "network": "$@network_def.to(@device)",
        "segment": {
            "_target_": f"{module}.segment_file",
            "network": "@network",
            "query": "@query",
            "support_image": "@support_image",
            "support_mask": "@support_mask",
            "output": "@output",
        },
        "run": ["$print(@segment)"],
    }


def _metadata() -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": dpcenet.__version__,
        "changelog": {dpcenet.__version__: f"exported by dpcenet {dpcenet.__version__}"},
        "monai_version": MONAI,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"dpcenet": dpcenet.__version__},
        "name": "dpcenet in-context segmentation",
        "task": "Few-shot segmentation of medical images: one labelled scan, any structure",
        "description": "Segments in a scan what one labelled scan shows. Trained on made-up images "
        "only.",
        "authors": "The dpcenet developers",
        "copyright": "Apache-2.0",
        "intended_use": "Research use only, not a medical device.",
        "network_data_format": {
            "inputs": {"image": _channels(list(CHANNELS), [0, 1])},
            "outputs": {"pred": _channels(["background", "structure"], [0, 1])},
        },
    }


def _channels(names: list[str], value_range: list[int]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "magnitude" if len(names) == len(CHANNELS) else "segmentation",
        "modality": "MR or CT",
        "num_channels": len(names),
        "spatial_shape": [256, 256],
        "dtype": "float32",
        "value_range": value_range,
        "is_patch_data": False,
        "channel_def": {str(n): name for n, name in enumerate(names)},
    }


_README = """# In-context segmentation from one labelled scan

Research use only, not a medical device. Licence: Apache-2.0.

`run` segments a whole scan: it prepares it, aligns the labelled scan with it, and segments slice by
slice, as `dpcenet segment` does. From the folder of the bundle:

    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
        --query scan.nii.gz --support_image labelled.nii.gz --support_mask labels.nii.gz \\
        --output mask.nii.gz

`network_def` is the network alone: slices (N, 3, H, W) with the channels query, labelled scan and
labels (0 or 1) to probability (N, 2, H, W). Intensities of a slice have mean 0 and standard
deviation 1, as `dpcenet` prepares them.
"""
