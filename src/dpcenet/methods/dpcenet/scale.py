"""One scale of DPCENet: support and query to maps of similarity, by SQCA and both attentions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective
from dpcenet.methods.dpcenet.options import Options
from dpcenet.methods.dpcenet.prototypes import (
    LocalPrototypes,
    mean_prototypes,
    path_shares,
    path_weights,
)
from dpcenet.nn.attention import to_rows
from dpcenet.nn.pooling import size_of
from dpcenet.nn.similarity import cosine_maps


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
        """Maps (N, 2, h, w) of the similarity to background and foreground, and diagnostics."""
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
