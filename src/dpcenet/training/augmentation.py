"""Augmentation: affine, elastic and gamma, in torch, for a batch on any device.

A random view is drawn once as numbers (`draw_view`) and then applied (`apply_view`), so it can be
replayed: the same numbers warp a slice, its mask, or a slice that is needed again.

Source: the lineage's code (docs/protocols.md lists the defects); the numbers are
`AugmentOptions`. Deviates: the elastic field comes from the view's seed; the official one draws
from an unseeded generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges of the random views.

    Attributes:
        place: "either" (ADNet's lineage): one coin decides whether support or query gets gamma, a
            second one which of them gets affine and elastic. "both" (SSL-ALPNet's): each gets all.
            "none": nothing is augmented.
        rotate_deg, shift_px, shear_deg: symmetric ranges.
        zoom: factor, from–to.
        elastic_px, elastic_sigma_px: displacement factor and smoothness; 0 leaves it out.
        gamma: exponent, from–to.
    """

    place: Literal["either", "both", "none"] = "either"
    rotate_deg: float = 5.0
    shift_px: float = 5.0
    shear_deg: float = 5.0
    zoom: tuple[float, float] = (0.9, 1.2)
    elastic_px: float = 10.0
    elastic_sigma_px: float = 5.0
    gamma: tuple[float, float] = (0.5, 1.5)


@dataclass(frozen=True)
class View:
    """One drawn augmentation; None leaves a part out.

    Attributes:
        matrix: (3, 3) affine in pixels (x, y), source to target.
        elastic_seed: seed of the elastic field.
        gamma: exponent.
    """

    matrix: npt.NDArray[np.float64] | None = None
    elastic_seed: int | None = None
    gamma: float | None = None


PLAIN = View()


def draw_view(
    random: np.random.Generator,
    options: AugmentOptions,
    size: tuple[int, int],
    geometry: bool = True,
    gamma: bool = True,
) -> View:
    """Draw the numbers of a view for images of `size` (H, W)."""
    matrix = draw_affine(random, options, size) if geometry else None
    elastic = geometry and options.elastic_px > 0
    return View(
        matrix,
        int(random.integers(2**31)) if elastic else None,
        float(random.uniform(*options.gamma)) if gamma else None,
    )


def draw_affine(
    random: np.random.Generator, options: AugmentOptions, size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """A random zoom · shear · shift · rotation as a (3, 3) matrix in pixels (x, y).

    The lineage's numbers are drawn in this order; rotation and zoom turn about (W/2, H/2), shear
    about the origin corner.
    """
    angle = random.uniform(-options.rotate_deg, options.rotate_deg)
    shift_x, shift_y = random.uniform(-options.shift_px, options.shift_px, size=2)
    shear = math.radians(random.uniform(-options.shear_deg, options.shear_deg))
    zoom = random.uniform(*options.zoom)
    shift_matrix = np.array([[1, 0, shift_x], [0, 1, shift_y], [0, 0, 1]])
    shear_matrix = np.array([[1, -math.sin(shear), 0], [0, math.cos(shear), 0], [0, 0, 1]])
    turn, grow = _about_centre(angle, 1.0, size), _about_centre(0.0, zoom, size)
    matrix: npt.NDArray[np.float64] = grow @ shear_matrix @ shift_matrix @ turn
    return matrix


def _about_centre(angle_deg: float, zoom: float, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Rotation and zoom that leave (W/2, H/2) where it is."""
    x, y = size[1] / 2, size[0] / 2
    cos, sin = (zoom * f(math.radians(angle_deg)) for f in (math.cos, math.sin))
    return np.array(
        [[cos, sin, (1 - cos) * x - sin * y], [-sin, cos, sin * x + (1 - cos) * y], [0, 0, 1]]
    )


def apply_view(
    images: Tensor, masks: Tensor, view: View, options: AugmentOptions
) -> tuple[Tensor, Tensor]:
    """Apply a drawn view to images (B, 1, H, W) and their masks (B, H, W) in {0, 1}."""
    stack = torch.cat([images, masks[:, None]], dim=1)
    if view.matrix is not None:
        stack = warp_affine(stack, view.matrix)
    if view.elastic_seed is not None:
        field = elastic_field(view.elastic_seed, stack, options)
        stack = warp_elastic(stack, field)
    images, masks = stack[:, :1], stack[:, 1].round()
    if view.gamma is not None:
        images = change_gamma(images, view.gamma)
    return images, masks


def warp_affine(maps: Tensor, matrix: npt.NDArray[np.float64]) -> Tensor:
    """Warp (B, C, H, W) by a source-to-target matrix in pixels; bilinear, zero outside."""
    height, width = maps.shape[-2:]
    # grid_sample asks where each target pixel comes from, in −1…1 between the outer centres.
    to_unit = np.array([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]])
    theta = (to_unit @ np.linalg.inv(matrix) @ np.linalg.inv(to_unit))[:2]
    rows = torch.as_tensor(theta, dtype=maps.dtype, device=maps.device)
    grid = F.affine_grid(
        rows.expand(len(maps), -1, -1), [len(maps), 1, height, width], align_corners=True
    )
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def elastic_field(seed: int, like: Tensor, options: AugmentOptions) -> Tensor:
    """A smooth random displacement (2, H, W) in pixels, (dx, dy), from a seed alone."""
    random = np.random.default_rng(seed)
    noise = random.uniform(-1, 1, size=(2, *like.shape[-2:]))
    field = torch.as_tensor(noise, dtype=like.dtype, device=like.device)
    return options.elastic_px * gaussian_blur(field, options.elastic_sigma_px)


def gaussian_blur(fields: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W), kernel of 2·int(2σ)+1 pixels, mirrored at the border."""
    reach = min(int(2 * sigma), fields.shape[-1] - 1, fields.shape[-2] - 1)
    axis = torch.arange(-reach, reach + 1, dtype=fields.dtype, device=fields.device)
    kernel = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(fields[:, None], (reach, reach, reach, reach), mode="reflect")
    blurred = F.conv2d(padded, kernel[None, None, None, :])
    return F.conv2d(blurred, kernel[None, None, :, None])[:, 0]


def warp_elastic(maps: Tensor, displacement: Tensor) -> Tensor:
    """Sample (B, C, H, W) at each pixel plus its displacement (2, H, W); bilinear, mirrored."""
    height, width = maps.shape[-2:]
    ys, xs = torch.meshgrid(
        torch.arange(height, dtype=maps.dtype, device=maps.device),
        torch.arange(width, dtype=maps.dtype, device=maps.device),
        indexing="ij",
    )
    x = (2 * (xs + displacement[0]) + 1) / width - 1
    y = (2 * (ys + displacement[1]) + 1) / height - 1
    grid = torch.stack([x, y], dim=-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(
        maps, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def change_gamma(images: Tensor, gamma: float) -> Tensor:
    """r · ((I − min + 1e-5) / r)^γ + min with r = max − min + 1e-5, for each image of the batch."""
    low = images.amin(dim=(-2, -1), keepdim=True)
    span = images.amax(dim=(-2, -1), keepdim=True) - low + 1e-5
    return span * ((images - low + 1e-5) / span) ** gamma + low
