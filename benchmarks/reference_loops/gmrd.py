"""GMRD, code of December 2024."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.base import Method
from dpcenet.methods.gmrd.descriptors import populate
from dpcenet.methods.gmrd.model import GMRD
from reference_loops.base import Loop, average, predicted_mask, up


class GMRDLoop(Loop):
    """zmcheng9/GMRD."""

    outputs = ("layer3", "layer4", "fc")

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, GMRD)
        self.reduce = method.reduce
        self.unused = nn.Conv2d(2048, method.options.width, 1, bias=False)
        self.ring = method.options.ring
        self.mlps, self.decoders = deepcopy(method.mlps), deepcopy(method.decoders)

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encode(support, query)
        s, q = self.reduce(maps["layer3"]).split(1)
        self.unused(maps["layer4"])
        random = Random(0)
        out = self._segment(s, mask, q, random)
        if not self.training:
            return out, out.new_zeros(())
        predicted = predicted_mask(out)
        if not predicted.any():
            return out, out.new_zeros(())
        return out, F.nll_loss(self._segment(q, predicted, s, random), mask.long())

    def _segment(self, s: Tensor, mask: Tensor, q: Tensor, random: Random) -> Tensor:
        inner = mask - (1 - _dilate(1 - mask))
        outside = _dilate(1 - mask) - mask
        if self.ring == "outer":  # the paper's
            outside = _dilate(mask) - mask
        parts = {"foreground": (mask, inner), "background": (1 - mask, outside)}
        logits = {}
        for name, means in parts.items():
            large = up(s, mask.shape, corners=True)[0].flatten(1)
            populated = large[:, populate(means[0][0] > 0, random)]
            mlp = self.mlps[name]
            made = mlp.last(mlp.between(mlp.first(populated))).T
            prototypes = torch.cat([made, *(average(s, m, corners=True) for m in means)])
            cosines = F.conv2d(
                F.normalize(q, dim=1), F.normalize(prototypes, dim=1)[..., None, None]
            )
            logits[name] = self.decoders[name](cosines)
        both = torch.cat([logits["background"], logits["foreground"]], dim=1)
        return up(both, mask.shape, corners=True).log_softmax(dim=1)


def _dilate(mask: Tensor) -> Tensor:
    for _ in range(2):
        mask = F.max_pool2d(mask[None], 3, stride=1, padding=1)[0]
    return mask
