"""How a query lies to a support in the plane of the slices: turned, scaled and moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Pose:
    """A similarity of the plane, the same for all slices.

    Attributes:
        shown: (y, x) in pixels of the support, which lies at
        seen: (y, x) of the query.
        turn: degrees by which the support is turned, from y towards x.
        scale: size in the query over size in the support.
    """

    shown: tuple[float, float]
    seen: tuple[float, float]
    turn: float = 0.0
    scale: float = 1.0

    @property
    def is_still(self) -> bool:
        """Whether the query lies as the support."""
        return self == Pose(self.shown, self.shown)

    def look(self, images: Tensor, half: float, size: int) -> Tensor:
        """Square windows of support images (B, C, H, W) around `shown`, as the query has them.

        Args:
            images: of the support.
            half: half of a window's side, in pixels of the query.
            size: pixels of a window.

        Returns:
            (B, C, size, size), bilinear.
        """
        axis = half * ((torch.arange(size, device=images.device) * 2 + 1) / size - 1)
        return self._sampled(images, axis, axis, "bilinear")

    def carry(self, images: Tensor, mode: str = "bilinear") -> Tensor:
        """Support images (B, C, H, W) as they would lie in the query; beyond a border it goes on.

        `mode` is that of `grid_sample`.
        """
        rows, columns = (
            torch.arange(n, device=images.device) - middle
            for n, middle in zip(images.shape[-2:], self.seen, strict=True)
        )
        return self._sampled(images, rows, columns, mode)

    def _sampled(self, images: Tensor, y: Tensor, x: Tensor, mode: str) -> Tensor:
        """Images at places of the query, given as distances from `seen` along y and x."""
        cos, sin = (f(math.radians(self.turn)) / self.scale for f in (math.cos, math.sin))
        down = self.shown[0] + cos * y[:, None] + sin * x
        across = self.shown[1] - sin * y[:, None] + cos * x
        height, width = images.shape[-2:]
        grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], -1)
        return F.grid_sample(
            images,
            grid.expand(len(images), -1, -1, -1),
            mode,
            padding_mode="border",
            align_corners=False,
        )


def likeness(support: Tensor, query: Tensor, spread: float, reach: int) -> Tensor:
    """How alike two sets of maps are when one lies elsewhere: (K, 2·reach + 1, 2·reach + 1).

    Σ_x g(x)·⟨s_k(x), q(x + d)⟩ / Σ_x g(x) over the places x + d that exist, the mean of P pairs of
    slices; s and q have length 1 at every place, seen from their map's mean.

    Args:
        support: (K, P, C, n, n), P slices as each of K candidates shows them.
        query: (P, C, n, n).
        spread: of the Gaussian g around the middle, in halves of a window's side.
        reach: largest displacement d, in places.
    """
    shown, seen = (
        F.normalize(x - x.mean((-2, -1), keepdim=True), dim=-3) for x in (support, query)
    )
    axis = torch.linspace(-1, 1, seen.shape[-1], device=seen.device)
    weight = torch.exp(-(axis[:, None].square() + axis.square()) / spread**2)
    wide = F.conv2d(seen.flatten(0, 1)[None], (shown * weight).flatten(1, 2), padding=reach)[0]
    there = F.conv2d(torch.ones_like(weight)[None, None], weight[None, None], padding=reach)[0]
    return wide / (there * len(seen))
