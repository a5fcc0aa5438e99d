"""Blocks that compare a query with its supports: fusion, cross-attention, soft registration.

Shapes: N pairs, Sh supports of each, C channels, h×w positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.attention import squared_distances


class ScaleFusion(nn.Module):
    """One scale's maps of query, support and mask, and the result of the coarser scale, fused.

    Added to them is the similarity of each position of the query to the mean foreground and the
    mean background of the support, in groups of channels.

    Args:
        width: channels of the maps of images, and of the result.
        before: channels of the earlier result.
        with_support: whether the support's maps are used too. At fine scales, where the organs of
            two patients do not overlap, they do more harm than good.
    """

    def __init__(self, width: int, before: int, with_support: bool = True) -> None:
        super().__init__()
        self.groups, self.with_support = width // 4, with_support
        images = 3 * width if with_support else width
        self.mix = nn.Conv2d(images + 1 + 2 * self.groups + before, width, 1)

    def forward(self, support: Tensor, mask: Tensor, query: Tensor, before: Tensor) -> Tensor:
        """support (N, Sh, C, h, w) and mask (N, Sh, 1, h, w), averaged over the supports."""
        parts = [query, mask.mean(1), before]
        parts += [
            prototype_similarity(support, weight, query, self.groups) for weight in (mask, 1 - mask)
        ]
        if self.with_support:
            parts += [support.mean(1), (support * mask).mean(1)]
        mixed: Tensor = self.mix(torch.cat(parts, 1))
        return mixed


def prototype_similarity(support: Tensor, weight: Tensor, query: Tensor, groups: int) -> Tensor:
    """Cosine of the query with a weighted mean of the supports, per group: (N, groups, h, w).

    The supports' overall mean is subtracted from both. A prototype of no weight has similarity 0.
    """
    centre = support.mean((1, 3, 4))[..., None, None]
    total = weight.sum((1, 3, 4))[..., None, None] + 1e-3
    prototype = (support * weight).sum((1, 3, 4))[..., None, None] / total
    direction = prototype - centre * (total - 1e-3) / total
    grouped = torch.unflatten(direction, 1, (groups, -1))
    direction = F.normalize(grouped, dim=2, eps=1e-3).flatten(1, 2)
    centred = query - centre
    dot, square = (_group_sum(x, groups) for x in (centred * direction, centred.square()))
    return dot * (square + 1e-4).rsqrt()


def _group_sum(x: Tensor, groups: int) -> Tensor:
    """Sums (N, groups, h, w) over the groups of channels of x (N, C, h, w)."""
    return torch.unflatten(x, 1, (groups, -1)).sum(2)


class CrossAttention(nn.Module):
    """Each position of the query reads mask and features of the most similar support positions.

    Similarity is the cosine of one projection of both images' features. Each head also prefers
    near positions, as strongly as it learns to.
    """

    def __init__(self, width: int, source: int) -> None:
        super().__init__()
        self.heads = max(1, width // 48)
        self.key = nn.Linear(source, width)
        self.ask = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(source, width)
        self.out = nn.Linear(width + self.heads, width)
        self.sharpness = nn.Parameter(torch.full((self.heads,), 10.0).log())
        self.nearness = nn.Parameter(torch.linspace(20.0, 5.0, self.heads).log())
        nn.init.zeros_(self.ask.weight)

    def forward(self, x: Tensor, support: Tensor, mask: Tensor, query: Tensor) -> Tensor:
        """x (N, C, h, w); support (N, Sh, S, h, w); mask (N, Sh, 1, h, w); query (N, S, h, w)."""
        shots = support.shape[1]
        rows = support.movedim(2, -1).flatten(1, 3)
        asked = self.key(query.flatten(2).mT) + self.ask(x.flatten(2).mT)
        cosine = _unit(self._split(asked)) @ _unit(self._split(self.key(rows))).mT
        penalty = squared_distances(x).repeat(1, shots) * self.nearness.exp().view(-1, 1, 1)
        attention = torch.softmax(cosine * self.sharpness.exp().view(-1, 1, 1) - penalty, -1)
        values = self._split(self.value(rows))
        masks = mask.movedim(2, -1).flatten(1, 3)[:, None].expand(-1, self.heads, -1, -1)
        read = attention.to(values.dtype) @ torch.cat([values, masks], -1)
        added: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return x + added.mT.view_as(x)

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, P, C) to (N, heads, P, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (..., C) of length 1."""
    return F.normalize(vectors, dim=-1)


class SoftRegistration(nn.Module):
    """Attention of each position of the query to support positions with a similar key, and near.

    It is trained with a loss of its own, `correspondence_loss`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(10.0).log())
        self.nearness = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Unit keys (N, Sh, C, h, w) and (N, C, h, w) → weights (N, h·w, Sh·h·w)."""
        # The factors multiply the small operands, not the N large matrices.
        penalty = (squared_distances(query) * self.nearness.exp()).repeat(1, support.shape[1])
        rows = (query * self.sharpness.exp()).flatten(2).mT
        keys = support.transpose(1, 2).flatten(2)
        if torch.is_autocast_enabled(rows.device.type):  # baddbmm would round the distances too
            return torch.softmax(rows @ keys - penalty, -1)
        return torch.softmax(torch.baddbmm(-penalty, rows, keys), -1)


def warp(attention: Tensor, support: Tensor) -> Tensor:
    """Maps (N, Sh, C, h, w) of the supports, warped onto the query: (N, C, h, w)."""
    flat = support.movedim(2, -1).flatten(1, 3)
    warped = (attention.to(flat.dtype) @ flat).mT
    warped = warped.reshape(*warped.shape[:2], *support.shape[-2:])
    return warped.contiguous(memory_format=torch.channels_last)


def correspondence_loss(attention: Tensor, support: Tensor, query: Tensor) -> Tensor:
    """−log of the attention that each position of the query gives to positions of its own label.

    Args:
        attention: (N, h·w, Sh·h·w), from `InContext.align`.
        support: labels (N, Sh, H, W) int64 of the supports, or (N, H, W) of one; H a multiple of h.
        query: labels (N, H, W) of the query. Positions whose label the supports lack are left out.
    """
    step = round((query[0].numel() / attention.shape[1]) ** 0.5)
    given, wanted = (
        x[..., step // 2 :: step, step // 2 :: step].flatten(1) for x in (support, query)
    )
    same = wanted[:, :, None] == given[:, None]
    share = torch.where(same, attention, 0).sum(2)
    there = same.any(2)
    return -(share.clamp_min(1e-4).log() * there).sum() / there.sum().clamp_min(1)
