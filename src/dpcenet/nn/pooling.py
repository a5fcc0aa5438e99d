"""Averages of features under a mask, at each of the resolutions that the methods use.

Features are (B, C, h, w), masks (B, H, W). Three ways are known to bring them together:

1. features go up to the mask (PANet, ADNet, Q-Net, RPT): `masked_average` with
   `weights=pull_down(mask, (h, w))`, which is the same number without the upsampled features;
2. the mask goes down to the features (SSL-ALPNet): `masked_average` with `shrink(mask, (h, w))`;
3. both have one size already: `masked_average` with the mask.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


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


def pull_down(masks: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
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


def masked_average(
    features: Tensor, weights: Tensor, eps: float = 1e-5, floor: Literal["add", "max"] = "add"
) -> Tensor:
    """Mean feature under non-negative weights: (B, C, h, w), (B, h, w) → (B, C).

    Args:
        features: feature maps.
        weights: a mask of the same h×w, or what `pull_down` or `shrink` made of one.
        eps: keeps an empty mask from dividing by zero; its mean is then zero.
        floor: the denominator is Σw + eps ("add", the ADNet lineage) or max(Σw, eps) ("max",
            DPCENet, equation 1.10).
    """
    total = weights.sum(dim=(-2, -1))
    denominator = total + eps if floor == "add" else total.clamp_min(eps)
    return torch.einsum("bchw,bhw->bc", features, weights) / denominator[:, None]


def mean_prototype(features: Tensor, masks: Tensor, align_corners: bool = False) -> Tensor:
    """Mean over the shots of the average of upsampled features under a mask.

    Args:
        features: (Sh, C, h, w).
        masks: (Sh, H, W), hard or soft; may be h×w, as in a role swap.
        align_corners: how the features would be upsampled.

    Returns:
        (1, C); zero where every mask is empty.
    """
    weights = pull_down(masks, (features.shape[-2], features.shape[-1]), align_corners)
    return masked_average(features, weights).mean(dim=0, keepdim=True)


def describe_slices(maps: Tensor, cells: int = 4) -> npt.NDArray[np.float64]:
    """Descriptors (Z, C·cells²) of slices from feature maps (Z, C, h, w)."""
    pooled = F.adaptive_avg_pool2d(maps.float(), cells).flatten(1)
    descriptors: npt.NDArray[np.float64] = pooled.cpu().numpy().astype(np.float64)
    return descriptors
