"""Attention over positions, without an N×N matrix in memory, and a measure of how sharp it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK = 2**24  # attention weights held at once by `pooled_attention`: 64 MiB of float32


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """softmax over keys of (scale · queries keysᵀ), times values.

    Args:
        queries: (B, Nq, D).
        keys: (B, Nk, D).
        values: (B, Nk, E).
        scale: factor of the logits.

    Returns:
        (B, Nq, E).
    """
    # Four axes (one head) let torch choose its kernel that never holds the Nq×Nk matrix.
    q, k, v = queries[:, None], keys[:, None], values[:, None]
    return F.scaled_dot_product_attention(q, k, v, scale=scale)[:, 0]


def pooled_attention(queries: Tensor, keys: Tensor, pools: Tensor, scale: float) -> Tensor:
    """How much attention each key gets from pools of queries: pools · softmax(scale·queries keysᵀ).

    Whoever needs only weighted sums of an attention's output rows, w (A V), may take them as
    (w A) V: half the arithmetic, and a third of it on the way back. The weights are made a block of
    queries at a time, and made again on the way back, so that no Nq×Nk matrix is held.

    Args:
        queries: (B, Nq, D).
        keys: (B, Nk, D).
        pools: (B, P, Nq), weights of the queries in each pool.
        scale: factor of the logits.

    Returns:
        (B, P, Nk).
    """
    count = queries.shape[1]
    step = max(64, BLOCK // (len(queries) * keys.shape[1]))
    if step >= count:
        return _pooled_attention(queries, keys, pools, scale)
    blocks = zip(torch.split(queries, step, 1), torch.split(pools, step, 2), strict=True)
    parts = (
        checkpoint(_pooled_attention, q, keys, w, scale, use_reentrant=False)
        if torch.is_grad_enabled()
        else _pooled_attention(q, keys, w, scale)
        for q, w in blocks
    )
    total: Tensor = sum(parts, start=pools.new_zeros(()))
    return total


def _pooled_attention(queries: Tensor, keys: Tensor, pools: Tensor, scale: float) -> Tensor:
    return pools @ torch.softmax((scale * queries) @ keys.mT, dim=-1)


@torch.no_grad()
def effective_keys(queries: Tensor, keys: Tensor, scale: float, rows: int = 64) -> Tensor:
    """How many keys a row attends to: exp of the entropy of its softmax, mean over rows.

    1 means that attention copies one position, Nk that it averages all of them.

    Args:
        queries, keys, scale: as in `attend`; only the first of the batch is looked at.
        rows: how many evenly spaced rows are sampled.
    """
    count = len(queries[0])
    sample = torch.linspace(0, count - 1, min(rows, count), device=queries.device).long()
    log_weights = torch.log_softmax(scale * queries[0, sample].float() @ keys[0].float().T, dim=-1)
    entropy = -(log_weights.exp() * log_weights).sum(dim=-1)
    return entropy.exp().mean()


def to_rows(maps: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) → rows of positions (B, hw, C)."""
    return maps.flatten(2).transpose(1, 2)


def to_maps(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows of positions (B, hw, C) → feature maps (B, C, *size)."""
    return rows.transpose(1, 2).reshape(len(rows), -1, *size)
