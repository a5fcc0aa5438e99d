"""The pose of a query relative to a support in the plane: rotation, scale and displacement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Pose:
    """A similarity transform of the plane, the same for all slices.

    Attributes:
        support_centre: (y, x) in pixels of the support, which corresponds to
        query_centre: (y, x) in pixels of the query.
        rotation: degrees by which the support is rotated, from y towards x.
        scale: size in the query over size in the support.
    """

    support_centre: tuple[float, float]
    query_centre: tuple[float, float]
    rotation: float = 0.0
    scale: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether the query has the pose of the support."""
        return self == Pose(self.support_centre, self.support_centre)

    def windows(self, images: Tensor, half: float, size: int) -> Tensor:
        """Square windows of support images (B, C, H, W) around their centre, in the query's pose.

        Args:
            images: of the support.
            half: half of a window's side, in pixels of the query.
            size: pixels of a window.

        Returns:
            (B, C, size, size), bilinear.
        """
        axis = half * ((torch.arange(size, device=images.device) * 2 + 1) / size - 1)
        return self._sampled(images, axis, axis, "bilinear")

    def warp(self, images: Tensor, mode: str = "bilinear") -> Tensor:
        """Support images (B, C, H, W) in the query's pose; pixels outside repeat the border.

        `mode` is that of `grid_sample`.
        """
        rows, columns = (
            torch.arange(n, device=images.device) - middle
            for n, middle in zip(images.shape[-2:], self.query_centre, strict=True)
        )
        return self._sampled(images, rows, columns, mode)

    def _sampled(self, images: Tensor, y: Tensor, x: Tensor, mode: str) -> Tensor:
        """Images at positions of the query, given as distances from its centre along y and x."""
        cos, sin = (f(math.radians(self.rotation)) / self.scale for f in (math.cos, math.sin))
        down = self.support_centre[0] + cos * y[:, None] + sin * x
        across = self.support_centre[1] - sin * y[:, None] + cos * x
        height, width = images.shape[-2:]
        grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], -1)
        return F.grid_sample(
            images,
            grid.expand(len(images), -1, -1, -1),
            mode,
            padding_mode="border",
            align_corners=False,
        )


def similarity(support: Tensor, query: Tensor, spread: float, reach: int) -> Tensor:
    """How similar two sets of maps are under each displacement: (K, 2·reach + 1, 2·reach + 1).

    Σ_x g(x)·⟨s_k(x), q(x + d)⟩ / Σ_x g(x) over the cells x + d that exist, the mean of P pairs of
    slices; s and q have length 1 at every cell, after their map's mean is taken off.

    Args:
        support: (K, P, C, n, n), P slices as each of K candidate poses shows them.
        query: (P, C, n, n).
        spread: standard deviation of the Gaussian g around the middle, in halves of a window.
        reach: largest displacement d, in cells.
    """
    ours, theirs = (
        F.normalize(x - x.mean((-2, -1), keepdim=True), dim=-3) for x in (support, query)
    )
    axis = torch.linspace(-1, 1, theirs.shape[-1], device=theirs.device)
    weight = torch.exp(-(axis[:, None].square() + axis.square()) / spread**2)
    wide = F.conv2d(theirs.flatten(0, 1)[None], (ours * weight).flatten(1, 2), padding=reach)[0]
    inside = F.conv2d(torch.ones_like(weight)[None, None], weight[None, None], padding=reach)[0]
    return wide / (inside * len(theirs))
