"""Made patients, and weights that fit them."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dpcenet.data.phantom.phantom import phantom
from dpcenet.methods.base import Method
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels

SIZE = 256
ORGAN = 1


def made_scan(seed: int, slices: int) -> tuple[Tensor, Tensor]:
    """Prepared images (Z, 1, 256, 256) and masks of the largest organ (Z, 256, 256)."""
    image, label = phantom(seed, (slices, SIZE, SIZE), (6.0, 1.25, 1.25), oblique=False)
    prepared, record = preprocess(image, Preprocessing.for_mr(size=SIZE))
    organs = preprocess_labels(label, record)
    masks = torch.from_numpy((organs == ORGAN).astype(np.float32))
    return torch.from_numpy(prepared.image)[:, None], masks


@torch.no_grad()
def calibrate_norms(method: Method, images: Tensor) -> None:
    """Give random weights batch norms that fit them: else features overflow with depth."""
    assert method.trunk is not None
    norms = [m for m in method.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    if norms:
        method.trunk.trunk.train()
        method.extract(images)
        method.trunk.trunk.eval()


def give_weights(method: Method, path: str) -> None:
    """A ResNet-50's weights; the further blocks of a ResNet-101 add nothing to what they get."""
    assert method.trunk is not None
    trunk = method.trunk.trunk
    missing, _ = trunk.load_state_dict(
        {name: tensor.float() for name, tensor in load_file(path).items()}, strict=False
    )
    for name in missing:
        if name.endswith("bn3.weight"):
            nn.init.zeros_(trunk.get_parameter(name))
