"""Blocks by which a query finds in a support what looks alike, lies alike, and is in the mask.

Shapes: N pairs, Sh supports of each, C channels, h×w places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class Fuse(nn.Module):
    """Query, support and mask of the same place, and what came before, to one map.

    With them go similarities to the prototypes: how much each place of the query looks like the
    mean of the support's foreground and of its background, in groups of channels.

    Args:
        width: channels of the maps of images, and of the result.
        before: channels of what came before.
        shown: whether the support's map is seen too; at fine scales, where organs of two patients
            no longer lie upon each other, it costs more than it tells.
    """

    def __init__(self, width: int, before: int, shown: bool = True) -> None:
        super().__init__()
        self.groups, self.shown = width // 4, shown
        seen = 3 * width if shown else width
        self.mix = nn.Conv2d(seen + 1 + 2 * self.groups + before, width, 1)

    def forward(self, support: Tensor, mask: Tensor, query: Tensor, before: Tensor) -> Tensor:
        """support (N, Sh, C, h, w) and mask (N, Sh, 1, h, w), averaged over the supports."""
        parts = [query, mask.mean(1), before]
        parts += [
            prototype_similarity(support, weight, query, self.groups) for weight in (mask, 1 - mask)
        ]
        if self.shown:
            parts += [support.mean(1), (support * mask).mean(1)]
        mixed: Tensor = self.mix(torch.cat(parts, 1))
        return mixed


def prototype_similarity(support: Tensor, weight: Tensor, query: Tensor, groups: int) -> Tensor:
    """Cosine of the query with a weighted mean of the supports, per group: (N, groups, h, w).

    Both are seen from the supports' overall mean. A prototype of no weight is like nothing: 0.
    """
    centre = support.mean((1, 3, 4))[..., None, None]
    total = weight.sum((1, 3, 4))[..., None, None] + 1e-3
    prototype = (support * weight).sum((1, 3, 4))[..., None, None] / total
    direction = prototype - centre * (total - 1e-3) / total
    grouped = direction.view(len(query), groups, -1, 1, 1)
    direction = F.normalize(grouped, dim=2, eps=1e-3).flatten(1, 2)
    seen = query - centre
    dot, square = (_group_sum(x, groups) for x in (seen * direction, seen.square()))
    return dot * (square + 1e-4).rsqrt()


def _group_sum(x: Tensor, groups: int) -> Tensor:
    """Sums (N, groups, h, w) over the groups of channels of x (N, C, h, w)."""
    return torch.unflatten(x, 1, (groups, -1)).sum(2)


class Read(nn.Module):
    """Every place of the query reads the mask and the look of the support's places like itself.

    Places are alike by the cosine of one projection of both images' features; each head also
    prefers near places, as strongly as it learns to.
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
        seen = support.movedim(2, -1).flatten(1, 3)
        ask = self.key(query.flatten(2).mT) + self.ask(x.flatten(2).mT)
        alike = _unit(self._split(ask)) @ _unit(self._split(self.key(seen))).mT
        near = squared_distances(x).repeat(1, shots) * self.nearness.exp().view(-1, 1, 1)
        attention = torch.softmax(alike * self.sharpness.exp().view(-1, 1, 1) - near, -1)
        value = self._split(self.value(seen))
        where = mask.movedim(2, -1).flatten(1, 3)[:, None].expand(-1, self.heads, -1, -1)
        answer = attention.to(value.dtype) @ torch.cat([value, where], -1)
        added: Tensor = self.out(answer.transpose(1, 2).flatten(2))
        return x + added.mT.view_as(x)

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, P, C) to (N, heads, P, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (..., C) of length 1."""
    return F.normalize(vectors, dim=-1)


def squared_distances(x: Tensor) -> Tensor:
    """Between the positions of a map (N, C, h, w), whose longer side is 2: (h·w, h·w) float."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape[-2:])
    places = torch.cartesian_prod(rows, columns).float() * (2 / max(x.shape[-2:]))
    return torch.cdist(places, places).square()


class Align(nn.Module):
    """Attention of each place of the query to the supports' places: alike in key, and near.

    Trained with a loss of its own (`correspondence_loss`), it is a soft registration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(10.0).log())
        self.nearness = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, shown: Tensor, asked: Tensor) -> Tensor:
        """Unit keys (N, Sh, C, h, w) of supports and (N, C, h, w): weights (N, h·w, Sh·h·w)."""
        # The factors go onto the small operands, not onto the N large matrices.
        near = (squared_distances(asked) * self.nearness.exp()).repeat(1, shown.shape[1])
        keys = (asked * self.sharpness.exp()).flatten(2).mT
        places = shown.transpose(1, 2).flatten(2)
        if torch.is_autocast_enabled(keys.device.type):  # baddbmm would round the distances too
            return torch.softmax(keys @ places - near, -1)
        return torch.softmax(torch.baddbmm(-near, keys, places), -1)


def moved_by(attention: Tensor, support: Tensor) -> Tensor:
    """Maps (N, Sh, C, h, w) of the supports, moved to the query's places: (N, C, h, w)."""
    flat = support.movedim(2, -1).flatten(1, 3)
    moved = (attention.to(flat.dtype) @ flat).mT
    moved = moved.reshape(*moved.shape[:2], *support.shape[-2:])
    return moved.contiguous(memory_format=torch.channels_last)


def correspondence_loss(attention: Tensor, support: Tensor, query: Tensor) -> Tensor:
    """−log of the attention that each place of the query gives to places of its own label.

    Args:
        attention: (N, h·w, h·w), from `InContext.align` with one support.
        support: labels (N, H, W) int64 of the support, H a multiple of h.
        query: labels (N, H, W) of the query. Places whose label the support lacks are left out.
    """
    step = round((query[0].numel() / attention.shape[1]) ** 0.5)
    shown, wanted = (
        x[:, step // 2 :: step, step // 2 :: step].flatten(1) for x in (support, query)
    )
    labels = int(max(shown.max(), wanted.max())) + 1
    votes = attention @ F.one_hot(shown, labels).to(attention.dtype)
    share = votes.gather(2, wanted[..., None])[..., 0]
    there = (wanted[:, :, None] == shown[:, None]).any(2)
    return -(share.clamp_min(1e-4).log() * there).sum() / there.sum().clamp_min(1)
