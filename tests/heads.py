"""What tests of heads share: a training step on given features, and NumPy oracles in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.methods.base import Method
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import segmentation_loss
from dpcenet.types import Features, Prediction

Array = npt.NDArray[np.float64]
SMALL = EncoderOptions(name="resnet18", outputs=("layer4",))  # built, never run, by head tests


@dataclass(frozen=True)
class Step:
    """Loss and gradients of one training step."""

    prediction: Prediction
    query_loss: Tensor
    total: Tensor
    grad_support: Tensor
    grad_query: Tensor


def train_step(
    method: Method,
    support: npt.ArrayLike,
    support_masks: npt.ArrayLike,
    query: npt.ArrayLike,
    query_masks: npt.ArrayLike,
    class_weights: tuple[float, float],
) -> Step:
    """Match in training mode and go back, with the losses combined as the training loop does."""
    s, q = (torch.tensor(x).requires_grad_() for x in (support, query))
    masks = torch.tensor(query_masks)
    prediction = method.train().match(
        Features({"features": s}),
        torch.tensor(support_masks),
        Features({"features": q}),
        query_masks=masks,
    )
    query_loss = segmentation_loss(prediction.log_probs, masks, class_weights)
    total = query_loss + torch.stack(list(prediction.losses.values())).sum()
    total.backward()
    assert s.grad is not None and q.grad is not None
    return Step(prediction, query_loss, total, s.grad, q.grad)


def gap(actual: Tensor, expected: npt.ArrayLike) -> float:
    """Largest difference, relative to the largest expected number."""
    wanted = np.asarray(expected, np.float64)
    found = actual.detach().double().numpy().reshape(wanted.shape)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def bilinear(maps: Array, size: tuple[int, int], align_corners: bool) -> Array:
    """Bilinear interpolation of (..., h, w) to (..., *size), written out."""
    y, x = (_line(n, m, align_corners) for n, m in zip(maps.shape[-2:], size, strict=True))
    return y @ maps @ x.T


def _line(small: int, large: int, align_corners: bool) -> Array:
    matrix = np.zeros((large, small))
    for i in range(large):
        if align_corners:
            place = i * (small - 1) / (large - 1)
        else:
            place = max((i + 0.5) * small / large - 0.5, 0.0)
        low = min(int(place), small - 1)
        high = min(low + 1, small - 1)
        matrix[i, low] += 1 - (place - low)
        matrix[i, high] += place - low
    return matrix


def cosine(features: Array, prototype: Array) -> Array:
    """Cosine of every cell of (C, h, w) with (C,)."""
    norms = np.sqrt((features**2).sum(axis=0)) * np.sqrt((prototype**2).sum())
    return np.einsum("chw,c->hw", features, prototype) / norms


def nll(log_probs: Array, masks: Array) -> float:
    """Mean negative log-likelihood of masks (B, H, W) under (B, 2, H, W)."""
    return -float(np.where(masks == 1, log_probs[:, 1], log_probs[:, 0]).mean())


def log_softmax(logits: Array) -> Array:
    """Over axis 1."""
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def episode(
    seed: int, shots: int, queries: int, zoom: int = 1
) -> tuple[Array, Array, Array, Array]:
    """Features (·, 6, 9, 11) and masks (·, 31, 43) of discs, or `zoom` times as many cells.

    The organ's cells have a direction in common.

    Returns:
        support features, support masks, query features, query masks.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: 31 * zoom, : 43 * zoom]
    organ, masks, features = random.normal(size=6), [], []
    for _ in range(shots + queries):
        y, x = random.uniform(12, 18) * zoom, random.uniform(14, 28) * zoom
        mask = ((rows - y) ** 2 + (columns - x) ** 2 < 81 * zoom**2).astype(float)
        cells = bilinear(mask, (9 * zoom, 11 * zoom), False)
        masks.append(mask)
        noise = random.normal(size=(6, 9 * zoom, 11 * zoom))
        features.append(0.7 * noise + 2 * organ[:, None, None] * cells)
    maps, discs = np.stack(features), np.stack(masks)
    return maps[:shots], discs[:shots], maps[shots:], discs[shots:]
