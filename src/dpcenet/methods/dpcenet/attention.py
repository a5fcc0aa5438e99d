"""The blocks of DPCENet: cross-attention of support and query, and the dual perspective.

Source: DPCENet (Zu et al., Modeling and Simulation 2025), equations 1.1–1.9 and Figure 2.
Rows of a matrix are positions: (B, hw, D).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.attention import attend, effective_keys, received

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
        """Rows of Sh supports (Sh, hw, D) and N queries (N, hw, D) → F_s* (N·Sh, hw, D).

        Each image is projected once, however many pairs it is in; shots are innermost.
        """
        shots, queries = len(support), len(query)
        if self.mode == "literal":
            q = self.w_q(query).repeat_interleave(shots, dim=0)
            k, v = (layer(support).repeat(queries, 1, 1) for layer in (self.w_k, self.w_v))
        else:
            q = self.w_q(support).repeat(queries, 1, 1)
            k, v = (layer(query).repeat_interleave(shots, dim=0) for layer in (self.w_k, self.w_v))
        aligned = support.repeat(queries, 1, 1) + self.alpha * attend(q, k, v, self.scale)
        return aligned, {"sqca": effective_keys(q, k, self.scale)}


class SelfSimilarity(nn.Module):
    """The two factors of softmax(F Fᵀ), the rows' likeness to each other (1.3, 1.4).

    Deviates: "normalised" divides each row by its norm and multiplies the product by a learnt
    temperature. With real features the printed, unscaled product has one effective key: the
    attention is the identity and learns nothing.
    """

    def __init__(self, normalised: bool, temperature: float = 10.0) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(temperature)) if normalised else None

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(B, R, E) → queries and keys (B, R, E), whose products are the logits."""
        if self.temperature is None:
            return rows, rows
        unit = F.normalize(rows, dim=-1)
        return unit * self.temperature, unit


class Gate(nn.Module):
    """Dynamic weights of the two perspectives: softmax(W_2 ReLU(W_1 P))   (1.7, 1.8)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, width // 8, bias=False)
        self.w_2 = nn.Linear(width // 8, 2, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """P (B, D) → w_spatial and w_channel (B, 2)."""
        weights: Tensor = self.w_2(F.relu(self.w_1(pooled))).softmax(dim=-1)
        return weights


class DualPerspective(nn.Module):
    """The paper's Figure 2: both attentions, fused by one gate for each path.

    What follows (1.6, 1.10) are sums over positions, so the perspectives are never made at every
    position: both are linear in the attention's output, and the sums go through it backwards.
    """

    def __init__(self, width: int, normalised: bool, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.spatial = SelfSimilarity(normalised)
        self.channel = SelfSimilarity(normalised)
        self.gates = nn.ModuleDict({path: Gate(width) for path in PATHS})

    def forward(
        self, rows: Tensor, masks: dict[str, Tensor], pools: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted sums of each path's F_i (1.9) over positions, and diagnostics.

        Args:
            rows: F_s* (B, hw, D).
            masks: of each path, (B, hw) in 0…1; by them rows are multiplied if `masked`.
            pools: of each path, (B, P, hw): the weights of P sums; an identity gives F_i itself.

        Returns:
            of each path (B, P, D).
        """
        shared = None if self.masked else self.perspectives(rows, _with_mean(*pools.values()))
        fused: dict[str, Tensor] = {}
        notes: dict[str, Tensor] = {}
        start = 1
        for path, pool in pools.items():
            if shared is None:
                own = rows * masks[path][..., None]
                spatial, channel, keys = self.perspectives(own, _with_mean(pool))
                place = slice(1, None)
            else:
                spatial, channel, keys = shared
                place = slice(start, start + pool.shape[1])
                start += pool.shape[1]
            weights = self.gates[path](spatial[:, 0] + channel[:, 0])  # 1.6
            w_spatial, w_channel = weights[:, None].chunk(2, dim=-1)
            fused[path] = w_spatial * spatial[:, place] + w_channel * channel[:, place]  # 1.9
            notes |= keys | {f"gate_spatial.{path}": weights[:, 0].detach().mean()}
        return fused, notes

    def perspectives(self, rows: Tensor, pools: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Sums (B, P, D) of F_spatial and of F_channel (1.5) over positions, and diagnostics.

        F_spatial = A F + F, and F_channel = F Cᵀ + F with the D×D attention C.

        Args:
            rows: (B, hw, D); pools: (B, P, hw).
        """
        plain = pools @ rows
        q, k = self.spatial(rows)
        spatial = received(q, k, pools, 1.0) @ rows + plain
        keys = {"spatial": effective_keys(q, k, 1.0)}
        q, k = self.channel(rows.mT)
        channel = attend(q, k, plain.mT, 1.0).mT + plain
        return spatial, channel, keys | {"channel": effective_keys(q, k, 1.0)}


def _with_mean(*pools: Tensor) -> Tensor:
    """Pools (B, P, hw) one after the other, and before them the mean over all positions."""
    mean = torch.full_like(pools[0][:, :1], 1 / pools[0].shape[-1])
    return torch.cat([mean, *pools], dim=1)
