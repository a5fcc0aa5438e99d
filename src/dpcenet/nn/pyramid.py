"""The pyramid of the in-context network: an image to maps at 1/2 … 1/16 of its size, and keys.

Trained on made-up images only, it is a trunk for the other methods too (`nn.encoder`). With it,
what its maps are turned into: other sizes, rows of positions, and distances between these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Widths = tuple[int, int, int, int]
"""Channels at 1/2, 1/4, 1/8 and 1/16 of an image's size."""


class Residual(nn.Module):
    """x + conv(relu(conv(norm(x)))), the norm over all of an image; the last conv starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(self.norm(x))))
        return x + added


class Pyramid(nn.Module):
    """An image to maps at 1/2 … 1/16 of its size, and to keys (1/4) for the soft registration."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        fine, middle, coarse, deep = widths
        self.fine = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4, fine, 3, padding=1), nn.ReLU(), Residual(fine)
        )
        self.middle = nn.Sequential(halving(fine, middle), Residual(middle), Residual(middle))
        self.coarse = nn.Sequential(halving(middle, coarse), Residual(coarse), Residual(coarse))
        self.deep = nn.Sequential(halving(coarse, deep), Residual(deep), Residual(deep))
        self.key = nn.Conv2d(middle, middle, 1)
        self.coarse_key = nn.Conv2d(coarse, middle, 1)
        self.deep_key = nn.Conv2d(deep, middle, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        fine = self.fine(images.contiguous(memory_format=torch.channels_last))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        deep = self.deep(coarse)
        wide = pointwise(self.coarse_key, coarse) + doubled(pointwise(self.deep_key, deep))
        key = F.normalize(pointwise(self.key, middle) + doubled(wide))
        return {"fine": fine, "middle": middle, "coarse": coarse, "deep": deep, "key": key}


def halving(width: int, wider: int) -> nn.Conv2d:
    """Half as many rows and columns, wider."""
    return nn.Conv2d(width, wider, 3, stride=2, padding=1)


def at_network_size(images: Tensor, size: int) -> Tensor:
    """Images (B, 1, H, W), the longer side resized to `size`, both sides multiples of 16."""
    longer = max(images.shape[-2:])
    return resized(images, [max(16, round(n * size / longer / 16) * 16) for n in images.shape[-2:]])


def resized(images: Tensor, shape: list[int] | torch.Size) -> Tensor:
    """Images (B, C, H, W) at another size, averaged where it is smaller."""
    if list(images.shape[-2:]) == list(shape):
        return images
    return F.interpolate(images, list(shape), mode="bilinear", antialias=True, align_corners=False)


def doubled(x: Tensor) -> Tensor:
    """Twice as many rows and columns."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def rows_of(maps: Tensor) -> Tensor:
    """Maps (N, C, h, w) as rows (N, h·w, C): a view where channels lie last in memory."""
    return maps.flatten(2).mT


def maps_of(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (N, h·w, C) as maps (N, C, h, w) of the height and width of `like`: a view."""
    return torch.unflatten(rows.mT, 2, like.shape[-2:])


def pointwise(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """A 1×1 convolution as a product of matrices: torch's own is slow on a single thread."""
    return maps_of(F.linear(rows_of(maps), conv.weight.flatten(1), conv.bias), maps)


def squared_distances(x: Tensor) -> Tensor:
    """Between the positions of a map (N, C, h, w), whose longer side is 2: (h·w, h·w) float."""
    places = places_of(x)
    return torch.cdist(places, places).square()


def places_of(x: Tensor) -> Tensor:
    """Positions of a map (N, C, h, w) from its middle, the longer side being 2: (h·w, 2) float."""
    rows, columns = (torch.arange(n, device=x.device) - (n - 1) / 2 for n in x.shape[-2:])
    return torch.cartesian_prod(rows, columns) * (2 / max(x.shape[-2:]))
