"""The blocks of DPCENet: cross-attention of support and query, and the dual perspective.

Source: DPCENet (Zu et al., Modeling and Simulation 2025), equations 1.1–1.9 and Figure 2.
Rows of a matrix are positions: (B, hw, D).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.attention import attend, effective_keys

PATHS = ("background", "foreground")


class CrossAlignment(nn.Module):
    """SQCA, support–query cross-attention: F_s* = F_s + α · A (F_s W_v)   (1.1, 1.2)."""

    def __init__(self, width: int, mode: Literal["literal", "support_from_query"]) -> None:
        super().__init__()
        self.mode = mode
        self.scale = width**-0.5
        self.w_q, self.w_k, self.w_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Rows of the support (B, hw, D) and of the query (B, hw, D) → F_s* (B, hw, D)."""
        asking, telling = (query, support) if self.mode == "literal" else (support, query)
        q, k = self.w_q(asking), self.w_k(telling)
        aligned = support + self.alpha * attend(q, k, self.w_v(telling), self.scale)
        return aligned, {"sqca": effective_keys(q, k, self.scale)}


class SelfSimilarity(nn.Module):
    """softmax(F Fᵀ) F + F over the rows of F (1.3–1.5).

    Deviates: "normalised" divides each row by its norm and multiplies the product by a learnt
    temperature. With real features the printed, unscaled product has one effective key: the
    attention is the identity and learns nothing.
    """

    def __init__(self, normalised: bool, temperature: float = 10.0) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(temperature)) if normalised else None

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(B, R, E) → the enhanced rows (B, R, E), and the effective number of keys."""
        if self.temperature is None:
            return attend(rows, rows, rows, 1.0) + rows, effective_keys(rows, rows, 1.0)
        unit = F.normalize(rows, dim=-1)
        warm = unit * self.temperature
        return attend(warm, unit, rows, 1.0) + rows, effective_keys(warm, unit, 1.0)


class Gate(nn.Module):
    """Dynamic weights of the two perspectives: softmax(W_2 ReLU(W_1 P))   (1.6–1.9)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, width // 8, bias=False)
        self.w_2 = nn.Linear(width // 8, 2, bias=False)

    def forward(self, spatial: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, hw, D) twice → their weighted sum (1.9) and the weights (B, 2)."""
        pooled = (spatial + channel).mean(dim=1)  # 1.6
        weights = self.w_2(F.relu(self.w_1(pooled))).softmax(dim=-1)  # 1.7
        w_spatial, w_channel = weights[:, None].chunk(2, dim=-1)  # 1.8
        return w_spatial * spatial + w_channel * channel, weights


class DualPerspective(nn.Module):
    """The paper's Figure 2: both attentions, fused by one gate for each path."""

    def __init__(self, width: int, normalised: bool, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.spatial = SelfSimilarity(normalised)
        self.channel = SelfSimilarity(normalised)
        self.gates = nn.ModuleDict({path: Gate(width) for path in PATHS})

    def forward(
        self, rows: Tensor, masks: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F_s* (B, hw, D) and each path's weights (B, hw) → F_i of each path, diagnostics."""
        shared = None if self.masked else self._perspectives(rows)
        fused: dict[str, Tensor] = {}
        notes: dict[str, Tensor] = {}
        for path in PATHS:
            spatial, channel, keys = shared or self._perspectives(rows * masks[path][..., None])
            fused[path], weights = self.gates[path](spatial, channel)
            notes |= keys | {f"gate_spatial.{path}": weights[:, 0].detach().mean()}
        return fused, notes

    def _perspectives(self, rows: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        spatial, spatial_keys = self.spatial(rows)
        channel, channel_keys = self.channel(rows.transpose(1, 2))  # the D×D matrix
        keys = {"spatial": spatial_keys, "channel": channel_keys}
        return spatial, channel.transpose(1, 2), keys
