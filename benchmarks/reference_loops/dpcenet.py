"""DPCENet as its equations stand, in the manner of the official code of its relatives.

No official code exists. Attention matrices are written out, features of either path are upsampled
to the mask, and the trunk is trained along, as in every relative.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.dpcenet.attention import PATHS
from dpcenet.methods.dpcenet.model import DPCENet, Scale
from reference_loops.base import Loop, predicted_mask, up


class DPCENetLoop(Loop):
    """The paper's network with its literal attention, one scale after the other."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, DPCENet)
        self.trunk.requires_grad_()
        self.reduce, self.scales, self.decoders = method.reduce, method.scales, method.decoders
        self.factor = method.options.cosine_scale
        self.reverse_weights = torch.tensor(method.options.reverse_weights)

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encode(support, query)
        pairs = {name: self.reduce[name](maps[name]).split(1) for name in self.reduce}
        out = self._segment({n: (s, q) for n, (s, q) in pairs.items()}, mask)
        if not self.training:
            return out, out.new_zeros(())
        predicted = predicted_mask(out)
        if not predicted.any():
            return out, out.new_zeros(())
        swapped = self._segment({n: (q, s) for n, (s, q) in pairs.items()}, predicted)
        return out, F.nll_loss(swapped, mask.long(), weight=self.reverse_weights)

    def _segment(self, pairs: dict[str, tuple[Tensor, Tensor]], mask: Tensor) -> Tensor:
        stacks: dict[str, list[Tensor]] = {path: [] for path in PATHS}
        finest = max((s for s, _ in pairs.values()), key=lambda s: s.shape[-1])
        for name, (s, q) in pairs.items():
            prototypes = self.prototypes(self.scales[name], s, q, mask)
            for path in PATHS:
                cosine = F.cosine_similarity(q, prototypes[path][..., None, None], dim=1)
                stacks[path].append(up(self.factor * cosine[:, None], finest.shape))
        logits = [self.decoders[path](torch.cat(stacks[path], dim=1)) for path in PATHS]
        return up(torch.cat(logits, dim=1), mask.shape).log_softmax(dim=1)

    def prototypes(self, scale: Scale, s: Tensor, q: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Equations 1.1 to 1.10 at one scale."""
        align, enhance = scale.align, scale.enhance
        assert align is not None and enhance is not None
        rows, asking = s[0].flatten(1).T, q[0].flatten(1).T
        logits = align.w_q(asking) @ align.w_k(rows).T * align.scale
        rows = rows + align.alpha * (logits.softmax(dim=-1) @ align.w_v(rows))
        spatial, channel = (
            _enhanced(x, module.temperature)
            for x, module in ((rows, enhance.spatial), (rows.T, enhance.channel))
        )
        channel = channel.T
        pooled = (spatial + channel).mean(dim=0)
        found = {}
        for path, weights in (("background", 1 - mask), ("foreground", mask)):
            gate = enhance.gates[path]
            w = gate.w_2(F.relu(gate.w_1(pooled))).softmax(dim=-1)
            maps = (w[0] * spatial + w[1] * channel).T.reshape(s.shape)
            large = up(maps, mask.shape) * weights[:, None]
            found[path] = large.sum(dim=(-2, -1)) / weights.sum().clamp_min(1e-5)
        return found


def _enhanced(rows: Tensor, temperature: Tensor | None) -> Tensor:
    """softmax(F Fᵀ) F + F."""
    if temperature is None:
        return (rows @ rows.T).softmax(dim=-1) @ rows + rows
    unit = F.normalize(rows, dim=-1)
    return (temperature * unit @ unit.T).softmax(dim=-1) @ rows + rows
