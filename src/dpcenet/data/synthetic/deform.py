"""Smooth random fields, and the coordinates in which a patient's slice sees the shared anatomy."""

from __future__ import annotations

import torch
from torch import Tensor

from dpcenet.data.synthetic.draws import Draws


def spline_basis(size: int, knots: int, device: torch.device) -> Tensor:
    """Cubic B-spline weights (size, knots) of `knots` control points spread over `size` samples."""
    position = torch.linspace(1, knots - 2, size, device=device)
    distance = (position[:, None] - torch.arange(knots, device=device)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp_min(0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def smooth_field(draws: Draws, batch: int, channels: int, knots: int, size: int) -> Tensor:
    """Smooth noise (batch, channels, size, size), standard deviation near 1.

    `knots` control points per axis set the scale: the fewer, the smoother.
    """
    basis = spline_basis(size, knots, draws.device)
    basis = basis / basis.square().sum(1, keepdim=True).sqrt()  # unit variance at each sample
    return basis @ draws.normal(batch, channels, knots, knots) @ basis.T


def pixel_grid(size: int, device: torch.device) -> Tensor:
    """Pixel centres (size, size, 2) as (x, y) in [−1, 1], the convention of `grid_sample`."""
    axis = (torch.arange(size, device=device) * 2 + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)


def view(draws: Draws, batch: int) -> tuple[Tensor, Tensor]:
    """How a data set shows its patients: zoom, quarter turns and mirroring, shared by a pair.

    Returns:
        (batch, 2, 2) matrix and (batch, 2) shift, from image to anatomy coordinates.
    """
    turn = draws.integers(batch, high=4) * (torch.pi / 2)
    matrix = rotation(turn + draws.normal(batch, std=0.05))
    mirror = torch.where(draws.chance(batch, p=0.5), -1.0, 1.0)
    matrix = matrix * torch.stack([mirror, torch.ones_like(mirror)], -1)[:, None]
    zoom = draws.log_uniform(batch, low=0.5, high=1.25)
    return matrix * zoom[:, None, None], draws.normal(batch, 2, std=0.06)


def rotation(angle: Tensor) -> Tensor:
    """Rotation matrices (..., 2, 2) of angles in radians (...)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def patient_coordinates(
    draws: Draws,
    matrix: Tensor,
    shift: Tensor,
    variation: Tensor,
    size: int,
    pose: float = 1.6,
    elsewhere: float = 0.0,
) -> Tensor:
    """Where the pixels of one patient's slice lie in the shared anatomy.

    How patients lie in the scanner varies on its own, beside their anatomy.

    Args:
        draws: source of the patient's pose and of the smooth deformation.
        matrix: (B, 2, 2), from `view`.
        shift: (B, 2), from `view`.
        variation: (B,), how much patients differ; 1 is usual, 0 is not at all.
        size: pixels per side.
        pose: how much more than the anatomy a pose may vary; it may also vary half as much.
        elsewhere: chance that a patient has another position and size.

    Returns:
        (B, size, size, 2) anatomy coordinates (x, y).
    """
    batch = len(matrix)
    amount = variation * draws.log_uniform(batch, low=0.5, high=pose)
    far = draws.chance(batch, p=elsewhere).float()
    turn = rotation(draws.normal(batch, std=0.09) * amount + draws.normal(batch, std=0.2) * far)
    scale = draws.normal(batch, 1, std=0.06) * amount[:, None]
    scale = scale + draws.normal(batch, 1, std=0.15) * far[:, None]
    scale = scale + draws.normal(batch, 2, std=0.04) * variation[:, None]
    matrix = matrix @ (turn * scale.exp()[:, None])
    shift = shift + draws.normal(batch, 2, std=0.06) * amount[:, None]
    shift = shift + draws.normal(batch, 2, std=0.15) * far[:, None]
    coordinates = pixel_grid(size, draws.device).view(1, -1, 2) @ matrix.mT + shift[:, None]
    for knots, std in ((5, 0.05), (8, 0.02)):
        bend = smooth_field(draws, batch, 2, knots, size) * (std * variation.view(-1, 1, 1, 1))
        coordinates = coordinates + bend.flatten(2).mT
    return coordinates.view(batch, size, size, 2)
