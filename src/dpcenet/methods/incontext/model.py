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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.base import MatchJob, Method, PoseSearch, SecondLook
from dpcenet.methods.incontext.blocks import (
    CrossAttention,
    Pooled,
    Scale,
    ScaleFusion,
    SoftRegistration,
    warp,
)
from dpcenet.methods.incontext.shared import Batch, masks_at_scale, pairs_of
from dpcenet.nn.pooling import describe_slices
from dpcenet.nn.pyramid import (
    Pyramid,
    Residual,
    Widths,
    at_network_size,
    doubled,
    halving,
    pointwise,
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

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.second_look = SecondLook(size=self.options.size, gain=6.0, min_half=48.0)
        self.pose_search = PoseSearch(map="coarse", size=self.options.size, gain=3.9)
        self.pyramid = Pyramid(self.options.widths)
        self.align = SoftRegistration()
        self.matcher = _Matcher(self.options.widths)

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
        scales, fine = batch.scales(query)
        warped = batch.carried(self.align, scales["middle"], query)
        logits: Tensor = self.matcher(scales, fine, query, warped)[0]
        return logits

    def describe(self, features: Features) -> npt.NDArray[np.float64]:
        """See `Method.describe`."""
        return describe_slices(features["coarse"], cells=8)

    def compare(
        self, support: Features, support_masks: Tensor, query: Features, attention: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Segment N queries, each with supports of its own.

        Args:
            support: maps (N, Sh, C, h, w).
            support_masks: (N, Sh, H, W).
            query: maps (N, C, h, w).
            attention: from `align`; the same for every label of these slices.

        Returns:
            logits of the foreground (N, H, W), and of the label being present in the slice (N,).
        """
        scales = {
            name: Scale(support[name], masks_at_scale(support_masks, query[name]))
            for name in ("fine", "middle", "coarse", "deep")
        }
        middle = torch.cat([scales["middle"].support, scales["middle"].mask], 2)
        fine = Pooled.of(scales["fine"])
        logits, presence = self.matcher(scales, fine, query, warp(attention, middle))
        return resized(logits.float(), support_masks.shape[-2:])[:, 0], presence.float()


def _log_probs_of(logits: Tensor) -> Tensor:
    """Foreground logits (N, H, W) to log-probabilities (N, 2, H, W)."""
    foreground = F.logsigmoid(logits)
    return torch.stack([foreground - logits, foreground], 1)  # log (1 − p) = log p − logit


class _Matcher(nn.Module):
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
