"""Q-Net: two scales, a threshold from the image, and prototypes refined at every test slice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.methods.qnet import QNet
from reference_loops.base import Loop, average, below, predicted_mask, up, with_background

STEPS, RATE = 7, 0.01


class QNetLoop(Loop):
    """ZJLAB-AMMI/Q-Net."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        assert isinstance(method, QNet)
        self.reduce, self.threshold = method.reduce, method.threshold
        self.weights = dict(zip(method.scales, method.options.scale_weights, strict=True))
        self.own = method.options.swap_threshold == "own"

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encode(support, query)
        t_s, t_q = self.threshold(maps["fc"]).split(1)
        scales = {name: self.reduce[name](maps[name]).split(1) for name in self.weights}
        prototypes = {name: average(s, mask) for name, (s, _) in scales.items()}
        queries = {name: q for name, (_, q) in scales.items()}
        if not self.training:
            refined = {n: _refined(queries[n], p, t_q) for n, p in prototypes.items()}
            out = self._classes(queries, refined, t_q, mask.shape)
            return out, out.new_zeros(())
        out = self._classes(queries, prototypes, t_q, mask.shape)
        predicted = predicted_mask(out)
        swapped = self._classes(
            {name: s for name, (s, _) in scales.items()},
            {name: average(q, predicted) for name, q in queries.items()},
            t_s if self.own else t_q,
            mask.shape,
        )
        return out, F.nll_loss(swapped, mask.long())

    def _classes(
        self,
        maps: dict[str, Tensor],
        prototypes: dict[str, Tensor],
        threshold: Tensor,
        size: torch.Size,
    ) -> Tensor:
        """Log-probabilities (1, 2, H, W) of the scales' weighted mean."""
        large = [
            weight * up(below(maps[n], prototypes[n], threshold)[:, None], size, corners=True)
            for n, weight in self.weights.items()
        ]
        return with_background(torch.stack(large).sum(dim=0) / sum(self.weights.values()))


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _refined(q: Tensor, prototype: Tensor, threshold: Tensor) -> Tensor:
    """The prototype (1, C) after Adam's steps on what pasting it into q (1, C, h, w) changes."""
    q, threshold = q.detach(), threshold.detach()
    moving = prototype.detach().clone().requires_grad_()
    adam = torch.optim.Adam([moving], lr=RATE)
    for _ in range(STEPS):
        inside = (below(q, moving.detach(), threshold) > 0.5).float()[:, None]
        pasted = q * (1 - inside) + moving[..., None, None] * inside
        loss = F.binary_cross_entropy(_squashed(q), _squashed(pasted))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return moving.detach()


def _squashed(maps: Tensor) -> Tensor:
    return ((maps - maps.min()) / (maps.max() - maps.min())).sigmoid()
