"""DPCENet: dual-perspective collaborative enhancement network.

Source: Zu Chunxiao et al., Modeling and Simulation 14 (2025), doi 10.12677/mos.2025.148564.
Equation numbers below are the paper's. No official code exists; docs/methods/dpcenet.md
says how each open question is read, and the options below keep the other readings.

The way of a slice: `Encoder` (frozen f_θ, trained 1x1 per scale) → `CrossAlignment` (SQCA) →
`DualPerspective` (spatial and channel attention, gated fusion for the foreground and the
background path) → prototypes → cosine maps of the query at every scale → decoders → softmax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.methods.base import TrunkMethod, TrunkOptions
from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective
from dpcenet.nn.attention import to_rows
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.pooling import adjoint_upsample, enlarge, size_of
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features, Prediction

EPS = 1e-5  # ε of equation 1.10


@dataclass(frozen=True)
class Options(TrunkOptions):
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


@dataclass(frozen=True)
class AttentionMaps:
    """What the dual perspective attends to, on one support slice.

    Attributes:
        spatial: (h, w), the attention of one pixel's cell to every cell; sums to 1.
        channels: (D,), the attention that each channel gets, mean over the channels; sums to 1.
        gates: path → share of the spatial perspective in 0…1; the rest is the channels'.
    """

    spatial: Tensor
    channels: Tensor
    gates: dict[str, float]


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
        self, support: Tensor, masks: Tensor, query: Tensor, attention: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prototypes of every query.

        Args:
            support: (Sh, D, h, w); masks: (Sh, H, W); query: (N, D, h, w).
            attention: False takes the prototypes of the support's features as they are.

        Returns:
            (N, 2, D): P_bg and P_fg of each query (1.10), and diagnostics.
        """
        if not attention:
            rows, weights = to_rows(support), _path_weights(support, masks, 1)
            sums = {path: weights[path][:, None] @ rows for path in PATHS}
            return _prototypes(sums, weights, 1).expand(len(query), -1, -1), {}
        rows, notes = self._aligned(support, query)
        weights = _path_weights(support, masks, len(query))
        if self.enhance is None:
            sums = {path: weights[path][:, None] @ rows for path in PATHS}
        else:
            sums, found = self._enhanced(self.enhance, rows, weights)
            notes |= found
        return _prototypes(sums, weights, len(query)), notes

    def attention_maps(
        self, support: Tensor, masks: Tensor, query: Tensor, pixel: tuple[int, int]
    ) -> AttentionMaps | None:
        """`forward` of one support and one query, looked into; None without dual perspective."""
        if self.enhance is None:
            return None
        rows, _ = self._aligned(support, query)
        _, notes = self._enhanced(self.enhance, rows, _path_weights(support, masks, 1))
        (height, width), (rows_px, columns_px) = size_of(support), size_of(masks)
        row, column = pixel[0] * height // rows_px, pixel[1] * width // columns_px
        spatial, channels = self.enhance.attention_maps(rows, row * width + column)
        gates = {path: float(notes[f"gate_spatial.{path}"]) for path in PATHS}
        return AttentionMaps(spatial.view(height, width), channels, gates)

    def _aligned(self, support: Tensor, query: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """F_s* (N·Sh, hw, D), shots innermost, and diagnostics."""
        if self.align is None:
            return to_rows(support).repeat(len(query), 1, 1), {}
        aligned: tuple[Tensor, dict[str, Tensor]] = self.align(to_rows(support), to_rows(query))
        return aligned

    @staticmethod
    def _enhanced(
        enhance: DualPerspective, rows: Tensor, weights: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """ΣM F_i over the positions of each pair and path (N·Sh, 1, D), and diagnostics."""
        total = weights["foreground"] + weights["background"]  # pixels that fall on each cell
        share = {path: weights[path] / total.clamp_min(EPS) for path in PATHS}
        found: tuple[dict[str, Tensor], dict[str, Tensor]] = enhance(
            rows, share, {path: weights[path][:, None] for path in PATHS}
        )
        return found


class DPCENet(TrunkMethod):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder)
        self.options = options
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

    def attention_maps(
        self, support: Features, masks: Tensor, query: Features, pixel: tuple[int, int]
    ) -> AttentionMaps | None:
        """What the dual perspective attends to at the first scale; None where it is left out.

        Args:
            support: features of one slice; masks: (1, H, W); query: features of one slice.
            pixel: (row, column) of the support whose attention is asked for.
        """
        name = next(iter(self.scales))
        scale = self.scales[name]
        assert isinstance(scale, Scale)
        return scale.attention_maps(support[name], masks, query[name], pixel)

    def _segment(
        self, support: Features, masks: Tensor, query: Features, attention: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Log-probabilities (N, 2, H, W) of the queries, and diagnostics."""
        maps: list[Tensor] = []
        notes: dict[str, Tensor] = {}
        for name, features in query.maps.items():
            prototypes, found = self.scales[name](support[name], masks, features, attention)
            notes |= {f"{name}.{key}": value for key, value in found.items()}
            maps.append(self.options.cosine_scale * cosine_maps(features, prototypes))
        return enlarge(self._fuse(maps), size_of(masks)).log_softmax(dim=1), notes

    def _fuse(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, 2, h, w) of every scale → logits (N, 2, h, w) at the finest scale."""
        finest = max((size_of(m) for m in maps), key=lambda size: size[0] * size[1])
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
                self._segment(query.rows([i]), predicted[[i]], support, attention=full)[0],
                support_masks,
                self.options.reverse_weights,
            )
            for i in found
        ]
        return {"reverse": torch.stack(losses).mean()}


def _path_weights(support: Tensor, masks: Tensor, queries: int) -> dict[str, Tensor]:
    """M of each path, on the cells of the support: (N·Sh, hw), shots innermost."""
    both = zip(PATHS, (1 - masks, masks), strict=True)
    size = size_of(support)
    return {p: adjoint_upsample(m, size).flatten(1).repeat(queries, 1) for p, m in both}


def _prototypes(sums: dict[str, Tensor], weights: dict[str, Tensor], queries: int) -> Tensor:
    """ΣMF / max(ΣM, ε) over the positions of all shots (1.10).

    Args:
        sums: of each path ΣMF of each pair (N·Sh, 1, D).
        weights: of each path M (N·Sh, hw).
        queries: N.

    Returns:
        (N, 2, D), background and foreground.
    """
    pair = []
    for path in PATHS:
        total = sums[path].view(queries, -1, sums[path].shape[-1]).sum(dim=1)
        mass = weights[path].view(queries, -1).sum(dim=1, keepdim=True)
        pair.append(total / mass.clamp_min(EPS))
    return torch.stack(pair, dim=1)
