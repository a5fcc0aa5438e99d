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

from dpcenet.methods.base import SecondLook, TrunkMethod, TrunkOptions
from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective
from dpcenet.methods.dpcenet.prototypes import (
    LocalPrototypes,
    mean_prototypes,
    path_shares,
    path_weights,
)
from dpcenet.nn.attention import to_rows
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.pooling import enlarge, size_of
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features, Prediction

Start = Literal["random", "registration"]
DecoderForm = Literal["plain", "added"]


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
        prototypes: "one" for each path (1.10), or "local", one for each cell of it.
        start: of what is trained. "random"; or "registration": the reductions are identities (as
            far as the widths agree), and SQCA begins at matching places between patients.
        alpha: where α of 1.2 starts; the paper does not say.
        temperature: where those of "normalised" attention start.
        decoder_width: channels of the decoders' residual pair; 0 averages the scales' maps.
        decoder: "plain", as printed; "added" to the mean of the scales' maps, and starting at 0.
        second_look: whether slices are segmented once more through windows, when predicting.
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
    prototypes: Literal["one", "local"] = "one"
    start: Start = "random"
    alpha: float = 0.0
    temperature: float = 10.0
    decoder_width: int = 32
    decoder: DecoderForm = "plain"
    second_look: bool = False
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
            registration = options.start == "registration"
            self.align = CrossAlignment(width, options.sqca, registration, options.alpha)
        if options.dpce:
            normalised, masked = options.attention == "normalised", options.mask_stage == "input"
            self.enhance = DualPerspective(width, normalised, masked, options.temperature)
        self.local = LocalPrototypes() if options.prototypes == "local" else None
        self.cosine_scale = options.cosine_scale

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
            rows, weights = to_rows(support), path_weights(support, masks, 1)
            sums = {path: weights[path][:, None] @ rows for path in PATHS}
            return mean_prototypes(sums, weights, 1).expand(len(query), -1, -1), {}
        rows, notes = self._aligned(support, query)
        weights = path_weights(support, masks, len(query))
        if self.enhance is None:
            sums = {path: weights[path][:, None] @ rows for path in PATHS}
        else:
            sums, found = self._enhanced(self.enhance, rows, weights)
            notes |= found
        return mean_prototypes(sums, weights, len(query)), notes

    def maps(
        self, support: Tensor, masks: Tensor, query: Tensor, attention: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps (N, 2, h, w) of the likeness to background and foreground, and diagnostics."""
        if self.local is None:
            prototypes, notes = self(support, masks, query, attention)
            return self.cosine_scale * cosine_maps(query, prototypes), notes
        shares = path_shares(path_weights(support, masks, len(query)))
        if not attention:
            rows, notes = to_rows(support).repeat(len(query), 1, 1), {}
        else:
            rows, notes = self._aligned(support, query)
        fused = dict.fromkeys(PATHS, rows)
        if attention and self.enhance is not None:
            fused, found = self.enhance.everywhere(rows, shares)
            notes |= found
        return self.local(query, fused, shares), notes

    def attention_maps(
        self, support: Tensor, masks: Tensor, query: Tensor, pixel: tuple[int, int]
    ) -> AttentionMaps | None:
        """`forward` of one support and one query, looked into; None without dual perspective."""
        if self.enhance is None:
            return None
        rows, _ = self._aligned(support, query)
        _, notes = self._enhanced(self.enhance, rows, path_weights(support, masks, 1))
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
        found: tuple[dict[str, Tensor], dict[str, Tensor]] = enhance(
            rows, path_shares(weights), {path: weights[path][:, None] for path in PATHS}
        )
        return found


class DPCENet(TrunkMethod):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder)
        self.options = options
        channels = self.encoder.channels
        self.reduce = nn.ModuleDict(
            {name: _reduction(c, options.width, options.start) for name, c in channels.items()}
        )
        self.scales = nn.ModuleDict({name: Scale(options) for name in channels})
        for name, count in channels.items():
            self.register_buffer(f"mean_{name}", torch.zeros(count))
        self.decoders = nn.ModuleDict(
            {
                path: _decoder(len(channels), options.decoder_width, options.decoder)
                for path in PATHS
                if options.decoder_width
            }
        )
        if options.second_look:
            self.second_look = SecondLook(options.encoder.size, gain=6.0, min_half=48.0)

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
            scale = self.scales[name]
            assert isinstance(scale, Scale)
            of_scale, found = scale.maps(support[name], masks, features, attention)
            notes |= {f"{name}.{key}": value for key, value in found.items()}
            maps.append(of_scale)
        return enlarge(self._fuse(maps), size_of(masks)).log_softmax(dim=1), notes

    def _fuse(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, 2, h, w) of every scale → logits (N, 2, h, w) at the finest scale."""
        finest = max((size_of(m) for m in maps), key=lambda size: size[0] * size[1])
        stacked = torch.stack([enlarge(m, finest) for m in maps], dim=2)  # (N, path, scale, h, w)
        if not self.decoders:
            return stacked.mean(dim=2)
        decoded = [self.decoders[p](stacked[:, i]) for i, p in enumerate(PATHS)]
        fused = torch.cat(decoded, dim=1)
        return fused if self.options.decoder == "plain" else stacked.mean(dim=2) + fused

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


def _reduction(channels: int, width: int, start: Start) -> nn.Conv2d:
    """The trained 1×1 of a scale; as a registration it starts as the identity."""
    reduction = nn.Conv2d(channels, width, 1, bias=False)
    if start == "registration":
        nn.init.eye_(reduction.weight[..., 0, 0])
    return reduction


def _decoder(scales: int, width: int, form: DecoderForm) -> MapDecoder:
    """The decoder of a path; one that is added to the maps starts at 0."""
    decoder = MapDecoder(scales, width, width)
    if form == "added":
        last = decoder.down[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
    return decoder
