"""Averages of features under a mask, at each of the resolutions that the methods use.

Features are (B, C, h, w), masks (B, H, W). There are three ways to combine the two:

1. features go up to the mask (PANet, ADNet, Q-Net, RPT): `masked_average` with
   `adjoint_upsample(mask, (h, w))`, which is the same number without the upsampled features;
2. the mask goes down to the features (SSL-ALPNet): `masked_average` with `shrink(mask, (h, w))`;
3. both have the same size already: `masked_average` with the mask.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # added to the sum of the weights, as the ADNet lineage does


def size_of(maps: Tensor) -> tuple[int, int]:
    """(h, w) of maps (..., h, w)."""
    return maps.shape[-2], maps.shape[-1]


def enlarge(maps: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear interpolation of (B, C, h, w) to (B, C, *size)."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def shrink(masks: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear samples of masks (B, H, W) at (B, *size); values between 0 and 1 are kept."""
    return enlarge(masks[:, None], size, align_corners)[:, 0]


@lru_cache(maxsize=64)
def _interpolation_matrix(
    small: int, large: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(large, small) matrix U of linear interpolation along one axis: up(x) = U x."""
    unit = torch.eye(small, dtype=dtype, device=device)[None]
    rows = F.interpolate(unit, size=large, mode="linear", align_corners=align_corners)
    return rows[0].T.contiguous()


def adjoint_upsample(masks: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """The adjoint of bilinear upsampling, applied to masks (B, H, W): (B, *size).

    Bilinear upsampling is linear and separable, up(F) = U_y F U_xᵀ, therefore

        Σ up(F) ⊙ M  =  Σ F ⊙ (U_yᵀ M U_x),

    and the mean of upsampled features under a mask needs no upsampled features. The rows of U
    sum to one, so the weights' sum is the mask's.
    """
    if masks.shape[-2:] == size:
        return masks
    u_y, u_x = (
        _interpolation_matrix(small, large, align_corners, masks.dtype, masks.device)
        for small, large in zip(size, masks.shape[-2:], strict=True)
    )
    return u_y.T @ masks @ u_x


def masked_average(features: Tensor, weights: Tensor) -> Tensor:
    """Mean feature under non-negative weights: (B, C, h, w), (B, h, w) → (B, C).

    Args:
        features: feature maps.
        weights: a mask of the same h×w, or what `adjoint_upsample` or `shrink` made of one; the
            mean under an empty mask is zero.
    """
    total = weights.sum(dim=(-2, -1)) + EPS
    return torch.einsum("bchw,bhw->bc", features, weights) / total[:, None]


def mean_prototype(features: Tensor, masks: Tensor, align_corners: bool = False) -> Tensor:
    """Mean over the shots of the average of upsampled features under a mask.

    Args:
        features: (Sh, C, h, w).
        masks: (Sh, H, W), hard or soft; may be h×w, as in a role swap.
        align_corners: how the features would be upsampled.

    Returns:
        (1, C); zero where every mask is empty.
    """
    weights = adjoint_upsample(masks, size_of(features), align_corners)
    return masked_average(features, weights).mean(dim=0, keepdim=True)


def describe_slices(maps: Tensor, cells: int = 4) -> npt.NDArray[np.float64]:
    """Descriptors (Z, C·cells²) of slices from feature maps (Z, C, h, w)."""
    pooled = F.adaptive_avg_pool2d(maps.float(), cells).flatten(1)
    descriptors: npt.NDArray[np.float64] = pooled.cpu().numpy().astype(np.float64)
    return descriptors
