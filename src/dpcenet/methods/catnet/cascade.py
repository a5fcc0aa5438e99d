"""CAT-Net's cascade: self- and cross-attention, each block masked by the last prediction.

Source: Lin et al., "Few Shot Medical Image Segmentation with Cross Attention Transformer", MICCAI
2023. Its repository holds another network (`repository.py`), so some choices are this project's:
docs/methods/catnet.md lists them. Rows are positions: (..., hw, C).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.nn.attention import attend, to_maps, to_rows
from dpcenet.nn.pooling import adjoint_upsample, masked_average, size_of
from dpcenet.nn.similarity import foreground_probability, hard_cells, prototype_probability

EPS = 1e-7


def prior_maps(query: Tensor, support: Tensor, cells: Tensor) -> Tensor:
    """Similarity of each query position to its most similar support position inside the mask.

    The mask multiplies the support's features. A cosine ignores their length, so every position
    with any foreground counts fully, and one without any has cosine 0. The largest cosine is
    scaled to 0…1 by its extremes over the query's positions.

    Args:
        query: (N, C, h, w).
        support: (Sh, C, h, w).
        cells: (Sh, h, w), masks at the features' size, hard or soft.

    Returns:
        (N, 1, h, w) in 0…1, the mean over the shots; zero where every mask is empty.

    Source: PFENet (Tian et al., "Prior Guided Feature Enrichment Network", TPAMI 2020), equations
    2 to 5; CAT-Net takes it over.
    """
    target = to_rows(query)[:, None]  # (N, 1, hw, C)
    source = to_rows(support * cells[:, None])  # (Sh, hw, C)
    norms = [torch.linalg.vector_norm(rows, dim=-1, keepdim=True) for rows in (target, source)]
    lengths = norms[0] @ norms[1].transpose(-1, -2)
    cosine = target @ source.transpose(-1, -2) / (lengths + EPS)  # (N, Sh, hw, hw)
    best = cosine.max(dim=-1).values
    low, high = best.amin(dim=-1, keepdim=True), best.amax(dim=-1, keepdim=True)
    prior: Tensor = ((best - low) / (high - low + EPS)).mean(dim=1)
    return prior.reshape(len(query), 1, query.shape[-2], query.shape[-1])


SQUEEZE = 8  # channels of a value for each channel of a query or key, as in the repository

MaskSide = Literal["keys", "queries"]


class MaskedAttention(nn.Module):
    """Attention of one head with learnt queries, keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // SQUEEZE)
        self.scale = inner**-0.5
        self.query, self.key = nn.Linear(width, inner), nn.Linear(width, inner)
        self.value = nn.Linear(width, width)

    def forward(self, target: Tensor, source: Tensor, shares: Tensor | None = None) -> Tensor:
        """What each target row (B, Rt, C) reads from the source rows (B, Rs, C).

        `shares` (B, Rs) or (1, Rs) multiplies the columns of the attention matrix after its
        softmax: the same as multiplying the values.
        """
        values = self.value(source)
        if shares is not None:
            values = values * shares[..., None]
        return attend(self.query(target), self.key(source), values, self.scale)


class CMATBlock(nn.Module):
    """Cross masked attention transformer: self-attention, masked cross-attention, MLP.

    Each has a residual and a layer norm. Support and query share the weights.

    Args:
        width: channels.
        mask_on: which side of the cross-attention matrix is multiplied by its image's mask: the
            "keys" (rows read from foreground only) or, as the paper draws it, the "queries"
            (background rows read nothing).
    """

    def __init__(self, width: int, mask_on: MaskSide) -> None:
        super().__init__()
        self.mask_on = mask_on
        self.self_attention, self.cross_attention = MaskedAttention(width), MaskedAttention(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm_self, self.norm_cross = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)

    def forward(
        self, support: Tensor, query: Tensor, support_shares: Tensor, query_shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rows of one block → rows of the next.

        Args:
            support: (N, Sh, hw, C), the shots as each query sees them.
            query: (N, hw, C).
            support_shares: (Sh, hw), foreground of the cells in 0…1.
            query_shares: (N, hw), the last prediction.

        Returns:
            support and query, of the same shapes.
        """
        within = self._within(support.flatten(0, 1)).view_as(support).flatten(1, 2)
        within_query = self._within(query)
        shares = support_shares.reshape(1, -1)  # a query reads from all shots at once
        new_support = self._across(within, within_query, shares, query_shares)
        new_query = self._across(within_query, within, query_shares, shares)
        return new_support.view_as(support), new_query

    def _within(self, rows: Tensor) -> Tensor:
        normed: Tensor = self.norm_self(rows + self.self_attention(rows, rows))
        return normed

    def _across(
        self, target: Tensor, source: Tensor, target_shares: Tensor, source_shares: Tensor
    ) -> Tensor:
        if self.mask_on == "keys":
            read = self.cross_attention(target, source, source_shares)
        else:
            read = self.cross_attention(target, source) * target_shares[..., None]
        rows = self.norm_cross(target + read)
        normed: Tensor = self.norm_mlp(rows + self.mlp(rows))
        return normed


class CascadeHead(nn.Module):
    """Features fused with a mask, then blocks that refine the query's mask one after the other.

    Args:
        width: channels.
        blocks: N, how many blocks; each has its own weights.
        mask_on: see `CMATBlock`.
    """

    def __init__(self, width: int, blocks: int, mask_on: MaskSide) -> None:
        super().__init__()
        self.fusion = nn.Conv2d(width + 1, width, 1)
        self.blocks = nn.ModuleList(CMATBlock(width, mask_on) for _ in range(blocks))

    def forward(
        self, support: Tensor, masks: Tensor, query: Tensor, threshold: Tensor
    ) -> list[Tensor]:
        """Foreground probabilities of the queries' cells, before the first block and after each.

        Args:
            support: (Sh, C, h, w).
            masks: (Sh, H, W) in {0, 1}.
            query: (N, C, h, w).
            threshold: one element.

        Returns:
            N+1 tensors (queries, h, w) in 0…1; the last one is the answer.
        """
        size = size_of(query)
        weights = adjoint_upsample(masks, size)
        shares = weights / adjoint_upsample(torch.ones_like(masks), size)
        prior = prior_maps(query, support, shares)
        rows = self._fused_rows(support, shares[:, None])
        support_rows = rows.expand(len(query), -1, -1, -1)
        query_rows = self._fused_rows(query, prior)
        probabilities = [prototype_probability(support, masks, query, threshold)]
        for block in self.blocks:
            last = hard_cells(probabilities[-1]).flatten(1)
            support_rows, query_rows = block(support_rows, query_rows, shares.flatten(1), last)
            prototypes = _prototypes(support_rows, weights)
            maps = to_maps(query_rows, size)
            probabilities.append(foreground_probability(maps, prototypes, threshold))
        return probabilities

    def _fused_rows(self, maps: Tensor, foreground: Tensor) -> Tensor:
        """Features (B, C, h, w) and a foreground map (B, 1, h, w) → rows (B, hw, C)."""
        return to_rows(self.fusion(torch.cat([maps, foreground], dim=1)))


def _prototypes(rows: Tensor, weights: Tensor) -> Tensor:
    """Mean prototype of the shots as each query sees them: (N, Sh, hw, C), (Sh, h, w) → (N, C)."""
    queries, shots = rows.shape[:2]
    maps = to_maps(rows.flatten(0, 1), size_of(weights))
    return masked_average(maps, weights.repeat(queries, 1, 1)).view(queries, shots, -1).mean(dim=1)
