"""DPCENet: dual-perspective collaborative enhancement network.

Source: Zu Chunxiao et al., Modeling and Simulation 14 (2025), doi 10.12677/mos.2025.148564.
Equation numbers below are the paper's. No official code exists; docs/methods/dpcenet.md
says how each open question is read, and the options below keep the other readings.

The way of a slice: `Encoder` (frozen f_θ, trained 1x1 per scale) → `CrossAlignment` (SQCA) →
`DualPerspective` (spatial and channel attention, gated fusion for the foreground and the
background path) → prototypes → cosine maps of the query at every scale → decoders → softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.methods.base import PoseSearch, SecondLook
from dpcenet.methods.dpcenet.attention import PATHS
from dpcenet.methods.dpcenet.options import DecoderForm, Options, Start
from dpcenet.methods.dpcenet.scale import AttentionMaps, Scale
from dpcenet.methods.trunk_method import TrunkMethod
from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.own_trunk import CELLS
from dpcenet.nn.pooling import enlarge, size_of
from dpcenet.types import Features, Prediction


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
        self.neighbours = options.neighbours
        if options.second_look:
            self.second_look = SecondLook(options.encoder.size, gain=4.5, min_half=40.0)
        if options.aligned:
            self.volume_map = CELLS
            self.pose_search = PoseSearch(CELLS, options.encoder.size, gain=3.9, reach=6)

    def take_out(self, module: str) -> None:
        """See `Method.take_out`: "sqca" leaves F_s* = F_s, "dpce" F_f = F_b = F_s*."""
        names = {"sqca": "align", "dpce": "enhance"}
        if module not in names:
            raise ConfigError(f"--without {module}: DPCENet's modules are {', '.join(names)}")
        for scale in self.scales.values():
            setattr(scale, names[module], None)

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
