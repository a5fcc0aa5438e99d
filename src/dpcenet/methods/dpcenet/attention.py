"""The blocks of DPCENet: cross-attention of support and query, and the dual perspective.

Source: DPCENet (Zu et al., Modeling and Simulation 2025), equations 1.1–1.9 and Figure 2.
Rows of a matrix are positions: (B, hw, D).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.nn.attention import attend, effective_keys, pooled_attention

PATHS = ("background", "foreground")
REGISTRATION_TEMPERATURE = 20.0  # of cosines; some 24 to 72 of 576 keys then count


class CrossAlignment(nn.Module):
    """SQCA, support–query cross-attention: F_s* = F_s + α · A (F_s W_v)   (1.1, 1.2).

    Deviates: as a "registration" it begins at finding the same place in the other image. W_q, W_k
    and W_v start as identities, and the logits are cosines times a learnt temperature. It needs
    features that match places between patients, and an α that is not 0: while α is 0 no gradient
    reaches W_q, W_k and W_v.

    Args:
        width: D.
        mode: which side asks.
        registration: start as a registration.
        alpha: where α starts.
    """

    def __init__(
        self,
        width: int,
        mode: Literal["literal", "support_from_query"],
        registration: bool = False,
        alpha: float = 0.0,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.scale = width**-0.5
        self.w_q, self.w_k, self.w_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.similarity = Similarity(registration, REGISTRATION_TEMPERATURE)
        if registration:
            self.scale = 1.0
            for layer in (self.w_q, self.w_k, self.w_v):
                nn.init.eye_(layer.weight)

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
        q, k = self.similarity(q, k)
        attended = attend(q, k, v, self.scale)  # 1.1
        aligned = support.repeat(queries, 1, 1) + self.alpha * attended  # 1.2
        return aligned, {"sqca": effective_keys(q, k, self.scale), "alpha": self.alpha.detach()}


class Similarity(nn.Module):
    """The two factors of the logits of an attention, such as F and Fᵀ in 1.3 and 1.4.

    Deviates: "normalised" divides each row by its norm and multiplies the product by a learnt
    temperature. With real features the printed, unscaled product has one effective key: the
    attention is the identity and learns nothing.
    """

    def __init__(self, normalised: bool, temperature: float = 10.0) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(temperature)) if normalised else None

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, R, E) and (B, S, E) → the same, such that their products are the logits."""
        if self.temperature is None:
            return queries, keys
        return F.normalize(queries, dim=-1) * self.temperature, F.normalize(keys, dim=-1)


class Gate(nn.Module):
    """Dynamic weights of the two perspectives: softmax(W_2 ReLU(W_1 P))   (1.7, 1.8)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, width // 8, bias=False)
        self.w_2 = nn.Linear(width // 8, 2, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """P (B, D) → w_spatial and w_channel (B, 2)."""
        weights: Tensor = self.w_2(F.relu(self.w_1(pooled))).softmax(dim=-1)  # 1.7, 1.8
        return weights


class DualPerspective(nn.Module):
    """The paper's Figure 2: both attentions, fused by one gate for each path.

    Only sums over positions are needed afterwards (1.6, 1.10), and both perspectives are linear in
    the attention's output. So the sums are taken first, and F_spatial and F_channel are never
    computed at every position.
    """

    def __init__(
        self, width: int, normalised: bool, masked: bool, temperature: float = 10.0
    ) -> None:
        super().__init__()
        self.masked = masked
        self.spatial = Similarity(normalised, temperature)
        self.channel = Similarity(normalised, temperature)
        self.gates = nn.ModuleDict({path: Gate(width) for path in PATHS})

    def forward(
        self, rows: Tensor, masks: dict[str, Tensor], pools: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted sums of each path's F_i (1.9) over positions, and diagnostics.

        Args:
            rows: F_s* (B, hw, D).
            masks: of each path, (B, hw) in 0…1; the rows are multiplied by it if `masked`.
            pools: of each path, (B, P, hw): the weights of P sums; an identity gives F_i itself.

        Returns:
            of each path (B, P, D).
        """
        fused: dict[str, Tensor] = {}
        notes: dict[str, Tensor] = {}
        # One pass serves both paths, unless each path has masked rows of its own.
        for paths in [(path,) for path in pools] if self.masked else [tuple(pools)]:
            given = rows * masks[paths[0]][..., None] if self.masked else rows
            own = [pools[path] for path in paths]
            mean = torch.full_like(own[0][:, :1], 1 / rows.shape[1])
            spatial, channel, keys = self.perspectives(given, torch.cat([mean, *own], dim=1))
            average = spatial[:, 0] + channel[:, 0]  # 1.6
            sizes = [pool.shape[1] for pool in own]
            parts = (torch.split(sums[:, 1:], sizes, dim=1) for sums in (spatial, channel))
            notes |= keys
            for path, of_spatial, of_channel in zip(paths, *parts, strict=True):
                weights = self.gates[path](average)
                w_spatial, w_channel = weights[:, None].chunk(2, dim=-1)
                fused[path] = w_spatial * of_spatial + w_channel * of_channel  # 1.9
                notes[f"gate_spatial.{path}"] = weights[:, 0].detach().mean()
        return fused, notes

    def everywhere(
        self, rows: Tensor, masks: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F_i of each path at every position (B, hw, D), and diagnostics; as `forward` with pools
        of one position each, but cheaper."""
        fused: dict[str, Tensor] = {}
        notes: dict[str, Tensor] = {}
        for paths in [(path,) for path in PATHS] if self.masked else [PATHS]:
            given = rows * masks[paths[0]][..., None] if self.masked else rows
            q, k = self.spatial(given, given)
            spatial = attend(q, k, given, 1.0) + given  # 1.3 to 1.5
            notes["spatial"] = effective_keys(q, k, 1.0)
            q, k = self.channel(given.mT, given.mT)
            channel = attend(q, k, given.mT, 1.0).mT + given
            notes["channel"] = effective_keys(q, k, 1.0)
            average = (spatial + channel).mean(dim=1)  # 1.6
            for path in paths:
                weights = self.gates[path](average)
                w_spatial, w_channel = weights[:, None].chunk(2, dim=-1)
                fused[path] = w_spatial * spatial + w_channel * channel  # 1.9
                notes[f"gate_spatial.{path}"] = weights[:, 0].detach().mean()
        return fused, notes

    def perspectives(self, rows: Tensor, pools: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Sums (B, P, D) of F_spatial and of F_channel over positions, and diagnostics.

        Args:
            rows: (B, hw, D); pools: (B, P, hw).
        """
        plain = pools @ rows
        q, k = self.spatial(rows, rows)
        spatial = pooled_attention(q, k, pools, 1.0) @ rows + plain  # A F + F: 1.3 to 1.5
        keys = {"spatial": effective_keys(q, k, 1.0)}
        q, k = self.channel(rows.mT, rows.mT)
        channel = attend(q, k, plain.mT, 1.0).mT + plain  # F Cᵀ + F, with the D×D attention C
        return spatial, channel, keys | {"channel": effective_keys(q, k, 1.0)}

    def attention_maps(self, rows: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """The spatial attention of one position (hw,), and the mean attention to channels (D,).

        Args:
            rows: (1, hw, D), as `forward` gets them.
            position: index of the row.
        """
        q, k = self.spatial(rows, rows)
        spatial = (q[0, position] @ k[0].mT).softmax(dim=-1)
        q, k = self.channel(rows.mT, rows.mT)
        return spatial, (q[0] @ k[0].mT).softmax(dim=-1).mean(dim=0)
