"""DPCENet: dual-perspective collaborative enhancement network.

Source: Zu Chunxiao et al., Modeling and Simulation 14 (2025), doi 10.12677/mos.2025.148564.
Equation numbers below are the paper's. No official code exists; docs/methods.md says how each
open question is read, and the options below keep the other readings.

The way of a slice: `Encoder` (frozen f_θ, trained 1x1 per scale) → `CrossAlignment` (SQCA) →
`DualPerspective` (spatial and channel attention, gated fusion for the foreground and the
background path) → prototypes → cosine maps of the query at every scale → decoders → softmax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.methods.base import Method
from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective
from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.pooling import enlarge, pull_down
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features, Prediction

EPS = 1e-5  # ε of equation 1.10


@dataclass(frozen=True)
class Options:
    """What the paper leaves open, and what its ablation switches off.

    Attributes:
        encoder: trunk, its weights, its dilation, the scales used, frozen or not.
        width: D, channels of every scale after the 1x1 reduction.
        sqca: "literal" adds support values to the query's rows (1.1 as printed);
            "support_from_query" lets support rows absorb query values (its prose); or "off".
        dpce: False leaves out the dual-perspective block (Table 4): the prototypes come from F_s*.
        attention: "literal" takes the products of 1.3 as they are; "normalised" takes cosines
            times a learnt temperature.
        mask_stage: "prototype" masks only in 1.10; "input" also before attention, for each path.
        decoder_width: channels of the decoders' residual pair; 0 averages the scales' maps.
        cosine_scale: factor of the cosine maps (the decoder's input, or the softmax's).
        centre: subtract the training slices' mean from trunk features.
        reverse: the query as support (1.12): the "full" mirror, "prototypes" only, or "off".
        reverse_weights: class weights of 1.12.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    width: int = 512
    sqca: Literal["literal", "support_from_query", "off"] = "literal"
    dpce: bool = True
    attention: Literal["literal", "normalised"] = "literal"
    mask_stage: Literal["prototype", "input"] = "prototype"
    decoder_width: int = 32
    cosine_scale: float = 1.0
    centre: bool = False
    reverse: Literal["full", "prototypes", "off"] = "full"
    reverse_weights: tuple[float, float] = (1.0, 1.0)


class Scale(nn.Module):
    """Everything that one scale of the encoder owns: SQCA and the dual perspective."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width = options.width
        self.align: CrossAlignment | None = None
        self.enhance: DualPerspective | None = None
        if options.sqca != "off":
            self.align = CrossAlignment(width, options.sqca)
        if options.dpce:
            normalised, masked = options.attention == "normalised", options.mask_stage == "input"
            self.enhance = DualPerspective(width, normalised, masked)

    def forward(
        self, support: Tensor, masks: Tensor, query: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prototypes of every query.

        Args:
            support: (Sh, D, h, w); masks: (Sh, H, W); query: (N, D, h, w).

        Returns:
            (N, 2, D): P_bg and P_fg of each query (1.10), and diagnostics.
        """
        queries = len(query)
        notes: dict[str, Tensor] = {}
        if self.align is None:
            rows = _rows(support).repeat(queries, 1, 1)  # one copy for each query, shots innermost
        else:
            rows, notes = self.align(_rows(support), _rows(query))
        weights = {
            "background": pull_down(1 - masks, _size(support)).flatten(1).repeat(queries, 1),
            "foreground": pull_down(masks, _size(support)).flatten(1).repeat(queries, 1),
        }
        if self.enhance is None:
            sums = {path: weights[path][:, None] @ rows for path in PATHS}
        else:
            total = weights["foreground"] + weights["background"]  # pixels that fall on each cell
            share = {path: weights[path] / total.clamp_min(EPS) for path in PATHS}
            pools = {path: weights[path][:, None] for path in PATHS}
            sums, found = self.enhance(rows, share, pools)
            notes |= found
        prototypes = [_mean(sums[path], weights[path], queries) for path in PATHS]
        return torch.stack(prototypes, dim=1), notes


class DPCENet(Method):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.encoder = Encoder(options.encoder)
        channels = self.encoder.channels
        self.reduce = nn.ModuleDict(
            {name: nn.Conv2d(c, options.width, 1, bias=False) for name, c in channels.items()}
        )
        self.scales = nn.ModuleDict({name: Scale(options) for name in channels})
        for name, count in channels.items():
            self.register_buffer(f"mean_{name}", torch.zeros(count))
        self.decoders = nn.ModuleDict(
            {
                path: MapDecoder(len(channels), options.decoder_width, options.decoder_width)
                for path in PATHS
                if options.decoder_width
            }
        )

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Measure the mean of trunk features over training slices, for `centre`."""
        if not self.options.centre:
            return
        for name, maps in self.extract(images).maps.items():
            self.get_buffer(f"mean_{name}").copy_(maps.float().mean(dim=(0, 2, 3)))

    def extract(self, images: Tensor) -> Features:
        return Features(self.encoder(images))

    def project(self, features: Features) -> Features:
        """The trained 1x1 reduction of every scale, after centring."""
        return Features(
            {
                name: self.reduce[name](maps - self.get_buffer(f"mean_{name}")[:, None, None])
                for name, maps in features.maps.items()
            }
        )

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        log_probs, notes = self._segment(support, support_masks, query)
        losses: dict[str, Tensor] = {}
        if self.training and self.options.reverse != "off":
            losses = self._reverse(support, support_masks, query, hard_masks(log_probs))
        return Prediction(log_probs, losses, notes)

    def _segment(
        self, support: Features, masks: Tensor, query: Features, enhance: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Log-probabilities (N, 2, H, W) of the queries, and diagnostics."""
        maps: list[Tensor] = []
        notes: dict[str, Tensor] = {}
        for name, features in query.maps.items():
            if enhance:
                prototypes, found = self.scales[name](support[name], masks, features)
                notes |= {f"{name}.{key}": value for key, value in found.items()}
            else:
                prototypes = _plain_prototypes(support[name], masks, len(features))
            maps.append(self.options.cosine_scale * cosine_maps(features, prototypes))
        logits = self._fuse(maps)
        return enlarge(logits, (masks.shape[-2], masks.shape[-1])).log_softmax(dim=1), notes

    def _fuse(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, 2, h, w) of every scale → logits (N, 2, h, w) at the finest scale."""
        finest = max((_size(m) for m in maps), key=lambda size: size[0] * size[1])
        stacked = torch.stack([enlarge(m, finest) for m in maps], dim=2)  # (N, path, scale, h, w)
        if not self.decoders:
            return stacked.mean(dim=2)
        return torch.cat([self.decoders[p](stacked[:, i]) for i, p in enumerate(PATHS)], dim=1)

    def _reverse(
        self, support: Features, support_masks: Tensor, query: Features, predicted: Tensor
    ) -> dict[str, Tensor]:
        """The query with its predicted mask segments the support (1.12).

        Queries in which nothing is predicted are skipped.
        """
        found = [i for i, mask in enumerate(predicted) if mask.any()]
        if not found:
            return {}
        full = self.options.reverse == "full"
        losses = [
            segmentation_loss(
                self._segment(query.rows([i]), predicted[[i]], support, enhance=full)[0],
                support_masks,
                self.options.reverse_weights,
            )
            for i in found
        ]
        return {"reverse": torch.stack(losses).mean()}


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _rows(maps: Tensor) -> Tensor:
    """(B, D, h, w) → (B, hw, D)."""
    return maps.flatten(2).transpose(1, 2)


def _mean(sums: Tensor, weights: Tensor, queries: int) -> Tensor:
    """ΣMF / max(ΣM, ε) over the positions of all shots (1.10).

    Args:
        sums: ΣMF of each pair (N·Sh, 1, D); weights: M (N·Sh, hw); queries: N.

    Returns:
        (N, D).
    """
    total = sums.view(queries, -1, sums.shape[-1]).sum(dim=1)
    return total / weights.view(queries, -1).sum(dim=1, keepdim=True).clamp_min(EPS)


def _plain_prototypes(support: Tensor, masks: Tensor, queries: int) -> Tensor:
    """Prototypes (N, 2, D) of features that no attention has touched."""
    rows, size = _rows(support), _size(support)
    weights = [pull_down(m, size).flatten(1) for m in (1 - masks, masks)]
    pair = [_mean(w[:, None] @ rows, w, 1) for w in weights]
    return torch.stack(pair, dim=1).expand(queries, -1, -1)
