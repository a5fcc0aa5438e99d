"""What compares a query with its supports: fusion, attention, registration; the U-Net of them.

Shapes: N pairs, Sh supports of each, C channels, h×w positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.pyramid import (
    Residual,
    Widths,
    doubled,
    halving,
    maps_of,
    places_of,
    pointwise,
    rows_of,
    squared_distances,
)
from dpcenet.types import Features


class ScaleFusion(nn.Module):
    """One scale's maps of query, support and mask, and the result of the coarser scale, fused.

    Added to them is the similarity of each position of the query to the mean foreground and the
    mean background of the support, in groups of channels.

    Args:
        width: channels of the maps of images, and of the result.
        before: channels of the earlier result.
        with_support: whether the support's maps are used too, and not only what is pooled of them.
            At fine scales, where the organs of two patients do not overlap, they do more harm than
            good.
    """

    def __init__(self, width: int, before: int, with_support: bool = True) -> None:
        super().__init__()
        self.groups = width // 4
        images = 3 * width if with_support else width
        self.mix = nn.Conv2d(images + 1 + 2 * self.groups + before, width, 1)

    def forward(self, shown: Scale | Pooled, query: Tensor, before: Tensor) -> Tensor:
        """Fuse a scale.

        Args:
            shown: the supports and their masks; pooled where their maps are not used.
            query: (N, C, h, w).
            before: (N, C', h, w).
        """
        pooled = Pooled.of(shown) if isinstance(shown, Scale) else shown
        rows = [rows_of(part) for part in (query, pooled.area, before)]
        rows.append(prototype_similarity(pooled, query, self.groups))
        if isinstance(shown, Scale):
            support, mask = (x.movedim(2, -1).flatten(2, 3) for x in (shown.support, shown.mask))
            rows += [support.mean(1), (support * mask).mean(1)]
        mixed = F.linear(torch.cat(rows, -1), self.mix.weight.flatten(1), self.mix.bias)
        return maps_of(mixed, query)


@dataclass(frozen=True)
class Scale:
    """One scale of N queries' supports.

    Attributes:
        support: (N, Sh, C, h, w).
        mask: (N, Sh, 1, h, w), the share of foreground in each cell.
    """

    support: Tensor
    mask: Tensor

    def rows(self) -> tuple[Tensor, Tensor]:
        """Both with a row for each place: (N, Sh·h·w, C) and (N, Sh·h·w, 1)."""
        support, mask = (x.movedim(2, -1).flatten(1, 3) for x in (self.support, self.mask))
        return support, mask

    def warped(self, attention: Tensor, targets: int = 1) -> Tensor:
        """Supports and masks on the queries: (N, C + 1, h, w).

        Args:
            attention: (N / targets, h·w, Sh·h·w); see `SoftRegistration`.
            targets: how many rows that follow each other are labels of the same slices. What
                slices show is moved once for all of them.
        """
        if targets == 1:  # as exported networks do it, whose number of rows is not known
            return warp(attention, torch.cat([self.support, self.mask], 2))
        first = self.support[::targets]
        areas = self.mask.view(len(first), targets, *self.mask.shape[1:])[:, :, :, 0]
        moved = warp(attention, torch.cat([first, areas.transpose(1, 2)], 2))
        maps, spots = moved[:, :-targets], moved[:, -targets:]
        return torch.cat([maps.repeat_interleave(targets, 0), spots.flatten(0, 1)[:, None]], 1)


@dataclass(frozen=True)
class Pooled:
    """What one scale of N queries' supports shows, without its places.

    Attributes:
        area: (N, 1, h, w), the masks' mean over the supports.
        centre: (N, 1, C), mean of the supports.
        prototypes: (N, 2, C), mean foreground and mean background, less the centre; 0 where there
            is none.
    """

    area: Tensor
    centre: Tensor
    prototypes: Tensor

    @staticmethod
    def of(scale: Scale) -> Pooled:
        """What a scale shows."""
        shown, weight = scale.rows()
        weights = torch.cat([weight, 1 - weight], -1)
        total = weights.sum(1)[..., None] + 1e-3
        centre = shown.mean(1, keepdim=True)
        prototypes = weights.mT @ shown / total - centre * (total - 1e-3) / total
        return Pooled(scale.mask.mean(1), centre, prototypes)

    @staticmethod
    def join(parts: Sequence[Pooled]) -> Pooled:
        """Those of several queries as one."""
        fields = zip(*((one.area, one.centre, one.prototypes) for one in parts), strict=True)
        return Pooled(*(torch.cat(field) for field in fields))


def prototype_similarity(shown: Pooled, query: Tensor, groups: int) -> Tensor:
    """Cosine of a query (N, C, h, w) with both prototypes, per group of channels, all seen from the
    supports' mean: (N, h·w, 2·groups), the foreground's first. It is 0 for an empty prototype."""
    directions = torch.unflatten(shown.prototypes, 2, (groups, -1))
    directions = F.normalize(directions, dim=3, eps=1e-3)
    axis = torch.arange(groups, device=query.device)
    one_group = (axis[:, None] == axis).to(query.dtype)
    # As one matrix of blocks, (N, C, 2·groups): each group of channels with its own direction.
    blocks = directions.permute(0, 2, 3, 1)[..., None] * one_group[:, None, None]
    centred = rows_of(query) - shown.centre
    dot = centred @ blocks.flatten(1, 2).flatten(2)
    width = directions.shape[3]
    square = centred.square() @ one_group[:, None].expand(-1, width, -1).flatten(0, 1)
    return dot * (square + 1e-4).rsqrt().repeat(1, 1, 2)


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

    def forward(self, x: Tensor, shown: Scale, query: Tensor) -> Tensor:
        """x (N, C, h, w); supports and masks of S channels; query (N, S, h, w)."""
        shots = shown.support.shape[1]
        rows, masks = shown.rows()
        asked = self.key(rows_of(query)) + self.ask(rows_of(x))
        cosine = _unit(self._split(asked)) @ _unit(self._split(self.key(rows))).mT
        penalty = squared_distances(x).repeat(1, shots) * self.nearness.exp().view(-1, 1, 1)
        attention = torch.softmax(cosine * self.sharpness.exp().view(-1, 1, 1) - penalty, -1)
        values = self._split(self.value(rows))
        spread = masks[:, None].expand(-1, self.heads, -1, -1)
        read = attention.to(values.dtype) @ torch.cat([values, spread], -1)
        added: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return x + maps_of(added, x)

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
        if torch.is_autocast_enabled(query.device.type):  # a product would round the distances too
            # The factors multiply the small operands, not the N large matrices.
            penalty = (squared_distances(query) * self.nearness.exp()).repeat(1, support.shape[1])
            rows = rows_of(query * self.sharpness.exp())
            return torch.softmax(rows @ support.transpose(1, 2).flatten(2) - penalty, -1)
        rows, keys = self._placed(support, query)
        return torch.softmax(rows @ keys.mT, -1)

    def carry(self, support: Tensor, query: Tensor, values: Tensor) -> Tensor:
        """What the weights of `forward` make of values (N, Sh·h·w, E): (N, h·w, E).

        The matrix of weights is never held.
        """
        rows, keys = self._placed(support, query)
        width = max(rows.shape[2], values.shape[2])
        q, k, v = (F.pad(x, (0, width - x.shape[2]))[:, None] for x in (rows, keys, values))
        carried = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return carried[:, 0, :, : values.shape[2]]

    def _placed(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Rows whose products are the logits, the distances within: 2·p·q − q² is −|p − q|² but
        for a number that all weights of a position share."""
        places, near = places_of(query), self.nearness.exp()
        ones = torch.ones_like(places[:, :1])
        here = torch.cat([2 * near * places, ones], 1).expand(query.shape[0], -1, -1)
        there = torch.cat([places, -near * places.square().sum(1, keepdim=True)], 1)
        rows = torch.cat([rows_of(query * self.sharpness.exp()), here], 2)
        shown = support.movedim(2, -1).flatten(2, 3)
        keys = torch.cat([shown, there.expand(*shown.shape[:2], -1, -1)], 3)
        return rows, keys.flatten(1, 2)


def warp(attention: Tensor, support: Tensor) -> Tensor:
    """Maps (N, Sh, C, h, w) of the supports, warped onto the query: (N, C, h, w)."""
    flat = support.movedim(2, -1).flatten(1, 3)
    return maps_of(attention.to(flat.dtype) @ flat, support)


class Matcher(nn.Module):
    """A U-Net over fused maps, from 1/4 down to 1/16 and back to full size."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        fine, middle, coarse, deep = widths
        self.fuse_middle = ScaleFusion(middle, middle + 1)
        self.middle_in = Residual(middle)
        self.fuse_coarse = ScaleFusion(coarse, middle)
        self.coarse_in = Residual(coarse)
        self.read_coarse = CrossAttention(coarse, coarse)
        self.down = halving(coarse, deep)
        self.fuse_deep = ScaleFusion(deep, deep)
        self.deep = nn.ModuleList(Residual(deep) for _ in range(2))
        self.read_deep = nn.ModuleList(CrossAttention(deep, deep) for _ in range(2))
        self.presence = nn.Linear(deep, 1)
        self.coarse_mix = nn.Conv2d(deep + coarse, coarse, 1)
        self.coarse_out = Residual(coarse)
        self.middle_mix = nn.Conv2d(coarse + middle, middle, 1)
        self.middle_out = nn.Sequential(Residual(middle), Residual(middle))
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.fuse_fine = ScaleFusion(fine, fine + 1, with_support=False)
        self.fine_out = nn.Sequential(Residual(fine), Residual(fine))
        self.out = nn.Sequential(
            nn.GroupNorm(1, fine), nn.ReLU(), nn.Conv2d(fine, 4, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(
        self, scales: Mapping[str, Scale], shown: Pooled, query: Features, warped: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Segment N queries.

        Args:
            scales: "middle", "coarse" and "deep" supports and masks.
            shown: what is known of them at the finest scale.
            query: maps (N, C, h, w).
            warped: middle supports and masks on the queries, (N, C + 1, h, w).

        Returns:
            logits (N, 1, 2h, 2w) where "fine" is h×w, and presence (N,); see `InContext.compare`.
        """
        at = {name: (scales[name], query[name]) for name in ("middle", "coarse", "deep")}
        middle = self.middle_in(self.fuse_middle(*at["middle"], warped))
        coarse = self.coarse_in(self.fuse_coarse(*at["coarse"], F.avg_pool2d(middle, 2)))
        coarse = self.read_coarse(coarse, *at["coarse"])
        deep = self.fuse_deep(*at["deep"], self.down(coarse))
        for read, residual in zip(self.read_deep, self.deep, strict=True):
            deep = residual(read(deep, *at["deep"]))
        presence = self.presence(deep.mean((2, 3)))[:, 0]
        coarse = self.coarse_out(pointwise(self.coarse_mix, torch.cat([doubled(deep), coarse], 1)))
        middle = pointwise(self.middle_mix, torch.cat([doubled(coarse), middle], 1))
        narrow = pointwise(self.to_fine, self.middle_out(middle))
        before = doubled(torch.cat([narrow, warped[:, -1:]], 1))
        fine = self.fine_out(self.fuse_fine(shown, query["fine"], before))
        return self.out(fine), presence
