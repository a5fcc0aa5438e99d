"""In-context network: trained once on made-up images, it segments what a support slice shows.

    support image ─┐                    ┌─ keys ─── soft registration (attention at 1/4) ─┐
                   ├─ shared pyramid ───┤                                                 ▼
    query image  ──┘  1/2 … 1/16        └─ maps ─── U-Net over fused maps, 1/4 → 1/16 → 1/1
    support mask ───────────────────────────────────────▲

Images are encoded one by one, so a support is encoded once however many queries and labels follow,
and the registration of two slices serves all labels. At every scale the fused maps hold the query,
its similarity to the mask's prototypes, and the support and mask at the same position; at the
coarse scales the query also attends to similar positions of the support.

Source: the task is that of UniverSeg (Butoi et al., 2023, section 3); training on images made from
random labels follows SynthMorph (Hoffmann et al., 2022). The form of the network is this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.base import MatchJob, Method, PoseSearch, SecondLook
from dpcenet.methods.incontext.blocks import (
    Matcher,
    Pooled,
    Scale,
    SoftRegistration,
)
from dpcenet.nn.pooling import describe_slices
from dpcenet.nn.pyramid import (
    Pyramid,
    Widths,
    at_network_size,
    maps_of,
    resized,
)
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class NetworkOptions:
    """Size of the network.

    Attributes:
        size: pixels of the longer image side inside the network.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of `size`; from 1/8 on multiples of 48, or less.
        presence_weight: weight of the loss of the presence output; 0 switches it off.
    """

    size: int = 128
    widths: Widths = (32, 48, 96, 192)
    presence_weight: float = 0.1


class InContext(Method):
    """The network. See the module's drawing.

    Args:
        options: its size.
    """

    neighbours = 1
    own_mean = True
    volume_map = "coarse"
    edge = 0.35  # cut at 1/2, masks are 4 to 15 % too small: docs/log.md
    low_matching = True

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.second_look = SecondLook(size=self.options.size, gain=6.0, min_half=48.0)
        self.pose_search = PoseSearch(map="coarse", size=self.options.size, gain=3.9)
        self.pyramid = Pyramid(self.options.widths)
        self.align = SoftRegistration()
        self.matcher = Matcher(self.options.widths)

    def extract(self, images: Tensor) -> Features:
        """Maps "fine" … "deep" (1/2 … 1/16) and "key" of images (B, 1, H, W), resized to `size`."""
        return Features(self.pyramid(at_network_size(images, self.options.size)))

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        """Segment the queries; see `Method.match`. `losses` holds "presence" when training."""
        count = query["key"].shape[0]  # len() would be a constant where the network is exported
        supports = support.apply(lambda x: x[None].expand(count, *x.shape))
        masks = support_masks[None].expand(count, *support_masks.shape)
        logits, presence = self.compare(
            supports, masks, query, self.align(supports["key"], query["key"])
        )
        losses = {}
        if self.training and query_masks is not None and self.options.presence_weight > 0:
            present = query_masks.flatten(1).amax(1)
            loss = F.binary_cross_entropy_with_logits(presence, present)
            losses["presence"] = self.options.presence_weight * loss
        return Prediction(_log_probs_of(logits), losses)

    def match_each(self, jobs: Sequence[MatchJob], batch: int) -> list[Tensor]:
        """See `Method.match_each`: slices of jobs with equally many supports share batches.

        Where each query slice has supports of its own, nearly every slice is a job.
        """
        found: dict[tuple[int, int], Tensor] = {}
        slices = [(i, n) for i, job in enumerate(jobs) for n in range(len(job.query))]
        for shots in sorted({len(job.masks) for job in jobs}):
            alike = [(i, n) for i, n in slices if len(jobs[i].masks) == shots]
            numbers = dict(zip(alike, pairs_of(jobs, alike), strict=True))
            alike.sort(key=numbers.__getitem__)  # labels of the same slices go together
            for start in range(0, len(alike), batch):
                chosen = alike[start : start + batch]
                logits = self._compare_each(Batch(jobs, chosen))
                full = resized(logits.float(), jobs[0].masks.shape[-2:])[:, 0]
                found |= dict(zip(chosen, _log_probs_of(full), strict=True))
        return [
            torch.stack([found[i, n] for n in range(len(job.query))]) for i, job in enumerate(jobs)
        ]

    def _compare_each(self, batch: Batch) -> Tensor:
        """Logits (N, 1, h, w) of a batch, at the size of the network."""
        query = batch.query()
        with torch.autocast(query["key"].device.type, enabled=False):  # would round distances
            scales, fine = batch.scales(query)
            warped = batch.carried(self.align, scales["middle"], query)
        logits: Tensor = self.matcher(scales, fine, query, warped)[0]
        return logits

    def describe(self, features: Features) -> npt.NDArray[np.float64]:
        """See `Method.describe`."""
        return describe_slices(features["coarse"], cells=8)

    def compare(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        attention: Tensor,
        targets: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Segment N queries, each with supports of its own.

        Args:
            support: maps (N, Sh, C, h, w).
            support_masks: (N, Sh, H, W).
            query: maps (N, C, h, w).
            attention: (N / targets, h·w, Sh·h·w) from `align`.
            targets: how many rows that follow each other are labels of the same slices.

        Returns:
            logits of the foreground (N, H, W), and of the label being present in the slice (N,).
        """
        scales = {
            name: Scale(support[name], masks_at_scale(support_masks, query[name]))
            for name in ("fine", "middle", "coarse", "deep")
        }
        fine, warped = Pooled.of(scales["fine"]), scales["middle"].warped(attention, targets)
        logits, presence = self.matcher(scales, fine, query, warped)
        return resized(logits.float(), support_masks.shape[-2:])[:, 0], presence.float()


def _log_probs_of(logits: Tensor) -> Tensor:
    """Foreground logits (N, H, W) to log-probabilities (N, 2, H, W)."""
    foreground = F.logsigmoid(logits)
    return torch.stack([foreground - logits, foreground], 1)  # log (1 − p) = log p − logit


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
