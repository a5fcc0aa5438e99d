"""Query slices with supports of their own in one batch, of which nothing is computed twice.

Several labels of a slice share what the slice has to do with its supports; several slices of a
label share what its masks show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import MatchJob
from dpcenet.methods.incontext.blocks import Pooled, Scale, SoftRegistration
from dpcenet.nn.pyramid import maps_of
from dpcenet.types import Features

Slices = Sequence[tuple[int, int]]
"""Which job, and which of its query slices."""


@dataclass(frozen=True)
class Batch:
    """N query slices, each with as many supports.

    Attributes:
        jobs: which they belong to.
        slices: N of them.
    """

    jobs: Sequence[MatchJob]
    slices: Slices

    def query(self) -> Features:
        """Their features."""
        return Features.join([self.jobs[i].query.rows(slice(n, n + 1)) for i, n in self.slices])

    def scales(self, query: Features) -> tuple[dict[str, Scale], Pooled]:
        """Supports and masks at 1/4 … 1/16, and what is known of them at 1/2, where their places
        do not count: the largest maps are never copied."""
        which = list(dict.fromkeys(i for i, _ in self.slices))
        rows = [which.index(i) for i, _ in self.slices]
        masks = torch.stack([self.jobs[i].masks for i in which])
        at = {name: masks_at_scale(masks, query[name]) for name in ("middle", "coarse", "deep")}
        scales = {
            name: Scale(_stacked([self.jobs[i].support[name] for i, _ in self.slices]), each[rows])
            for name, each in at.items()
        }
        finest = masks_at_scale(masks, query["fine"])
        fine = [
            Pooled.of(Scale(self.jobs[i].support["fine"][None], mask[None]))
            for i, mask in zip(which, finest, strict=True)
        ]
        return scales, Pooled.join([fine[row] for row in rows])

    def carried(self, align: SoftRegistration, middle: Scale, query: Features) -> Tensor:
        """The middle supports and masks, carried onto the queries: (N, C + 1, h, w)."""
        among = pairs_of(self.jobs, self.slices)
        first = [among.index(pair) for pair in range(max(among) + 1)]
        place = [among[:n].count(pair) for n, pair in enumerate(among)]
        shown, masks = middle.rows()
        values = shown[first]
        spots = values.new_zeros(len(first), max(place) + 1, values.shape[1])
        spots[among, place] = masks[..., 0]
        keys = _stacked([self.jobs[i].support["key"] for i, _ in (self.slices[n] for n in first)])
        both = torch.cat([values, spots.mT], 2)
        carried = align.carry(keys, query["key"][first], both)
        width = values.shape[2]
        maps, areas = carried[..., :width][among], carried[..., width:].mT[among, place]
        return maps_of(torch.cat([maps, areas[..., None]], 2), query["middle"])


def pairs_of(jobs: Sequence[MatchJob], slices: Slices) -> list[int]:
    """A number for each slice, from 0 as they come: the same where both the supports and the query
    slice are."""
    names = [(id(jobs[i].support), jobs[i].query["key"][n].data_ptr()) for i, n in slices]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def masks_at_scale(masks: Tensor, like: Tensor) -> Tensor:
    """Masks (N, Sh, H, W) as the share of each cell of `like` (N, C, h, w): (N, Sh, 1, h, w)."""
    height, width = like.shape[-2:]
    return F.adaptive_avg_pool2d(masks, (height, width))[:, :, None].to(like.dtype)


def _stacked(maps: Sequence[Tensor]) -> Tensor:
    """Maps (Sh, C, h, w) of N queries' supports: (N, Sh, C, h, w), channels last in memory."""
    return torch.stack([each.movedim(1, -1) for each in maps]).movedim(-1, 2)
