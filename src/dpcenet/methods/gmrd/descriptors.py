"""GMRD's multiple representative descriptors of a foreground or a background.

Source: Cheng et al., "Few-shot medical image segmentation via generating multiple representative
descriptors", IEEE TMI 2024.
"""

from __future__ import annotations

from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.pooling import adjoint_upsample, size_of

RING_STEPS = 2  # pixels


def populate(pool: Tensor, random: Random) -> Tensor:
    """For each pixel, the pixel of the pool whose feature it gets.

    Pixels of the pool keep their own feature. The others, in row-major order, first get a random
    sample of the pool without replacement, then the whole pool in order as often as it fits.

    Args:
        pool: (H, W) bool.
        random: of the sample; Python's own generator gives the official numbers for a seed.

    Returns:
        (H·W,) indices of pixels, on the pool's device; zeros where the pool is empty.
    """
    inside = pool.flatten()
    members = inside.nonzero()[:, 0]
    count, missing = len(members), inside.numel() - len(members)
    source = torch.arange(inside.numel(), device=pool.device)
    if count == 0:
        return torch.zeros_like(source)
    rounds, rest = divmod(missing, count)
    sample = torch.tensor(random.sample(range(count), rest), dtype=torch.long, device=pool.device)
    source[~inside] = torch.cat([members[sample], members.repeat(rounds)])
    return source


class PixelMLP(nn.Module):
    """Two linear layers over the pixels of a populated map: one descriptor for each output.

    The first layer is linear over pixels, a pixel's feature is a linear interpolation of cells, and
    populating copies pixels. All three are applied to the layer's weights instead of to features:

        W · populate(up(F))  =  up*(scatter(W)) · F,

    with up* the adjoint of the upsampling. No feature map of H×W pixels is made.

    Args:
        grid: the pixels that the first layer was made for. Maps of another size are sampled at the
            nearest pixel: input (r, c) of a grid of (R, S) reads pixel (⌊rH/R⌋, ⌊cW/S⌋) of the
            populated map, so every input still gets a feature of the pool.
        count: how many descriptors.
        relu: whether the first layer is followed by a ReLU.
        dropout: between the layers, in training.
    """

    def __init__(self, grid: tuple[int, int], count: int, relu: bool, dropout: float) -> None:
        super().__init__()
        self.grid = grid
        self.first = nn.Linear(grid[0] * grid[1], count)
        self.between = nn.Sequential(nn.ReLU() if relu else nn.Identity(), nn.Dropout(dropout))
        self.last = nn.Linear(count, count)

    def forward(self, features: Tensor, pool: Tensor, source: Tensor) -> Tensor:
        """Descriptors (count, C).

        Args:
            features: (C, h, w), upsampled with corners aligned.
            pool: (H, W) bool; an empty pool describes nothing, its populated map is zero.
            source: (H·W,), from `populate`.
        """
        size = size_of(pool)
        inputs = _nearest(source.view(size), self.grid).flatten()
        scattered = self.first.weight.new_zeros(self.last.in_features, source.numel())
        scattered.index_add_(1, inputs, self.first.weight)
        cells = size_of(features)
        weights = adjoint_upsample(scattered.view(-1, *size), cells, align_corners=True)
        hidden = torch.einsum("chw,nhw->cn", features, weights) * pool.any() + self.first.bias
        out: Tensor = self.last(self.between(hidden))
        return out.T


def inner_ring(masks: Tensor) -> Tensor:
    """The rim of masks (B, H, W): what two steps of 3×3 erosion take away."""
    return masks - (1 - _dilate(1 - masks))


def outer_ring(masks: Tensor) -> Tensor:
    """The surroundings of masks (B, H, W): what two steps of 3×3 dilation add."""
    return _dilate(masks) - masks


def signed_background(masks: Tensor) -> Tensor:
    """The official code's outer ring: 1 outside, 0 on the rim, −1 deep inside.

    It dilates the background and subtracts the organ; the paper's figure dilates the organ.
    """
    return _dilate(1 - masks) - masks


def descriptor_loss(
    support: dict[str, Tensor], query: dict[str, Tensor], special: int = 2
) -> Tensor:
    """Intra- and inter-class loss of the descriptors of a support and a query.

    Intra: one minus the mean cosine of the support's descriptors with those of the query, for the
    foreground plus for the background. The last `special` (global mean and ring) are each compared
    with their counterpart, the others with the most similar one. Inter: the mean cosine of
    all pairs of a foreground and a background descriptor, where positive, of support plus query.

    Args:
        support, query: "foreground" (K, C) and "background" (L, C).
        special: how many descriptors at the end are special.
    """
    s, q = ({k: F.normalize(d, dim=1) for k, d in side.items()} for side in (support, query))
    agreement = s["foreground"].new_zeros(())
    for name, of_support in s.items():
        cosines = of_support @ q[name].T
        best = cosines[:-special, :-special].amax(dim=1)
        agreement = agreement + torch.cat([best, cosines.diagonal()[-special:]]).mean()
    inter = sum(F.relu((d["foreground"] @ d["background"].T).mean()) for d in (s, q))
    return 2 - agreement + inter


def _nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (H, W) at the nearest pixels of a grid `size`."""
    rows, columns = (
        torch.arange(new, device=maps.device) * old // new
        for new, old in zip(size, maps.shape, strict=True)
    )
    return maps[rows[:, None], columns]


def _dilate(masks: Tensor) -> Tensor:
    for _ in range(RING_STEPS):
        masks = F.max_pool2d(masks[:, None], 3, stride=1, padding=1)[:, 0]
    return masks
