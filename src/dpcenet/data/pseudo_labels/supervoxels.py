"""Supervoxels: the 3-D regions that stand in for organ labels during training.

Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation" (IJCV 2004),
extended to 3-D with anisotropic voxels by Hansen et al. (ADNet, Medical Image Analysis 2022).
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.data.pseudo_labels.body import body_mask, contiguous_ids, to_byte_range
from dpcenet.data.pseudo_labels.felzenszwalb import merge, stable_order

BODY_THRESHOLD = 10.0
"""Body starts above this intensity, on the 0…255 scale."""

DIRECTIONS = [d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0)]
"""The 13 steps (z, y, x) that give each of a voxel's 26 neighbours once over the volume."""

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


def supervoxels(
    image: Floats,
    spacing: tuple[float, float, float],
    *,
    min_size: int = 5000,
    scale: float = 1.0,
    sigma: float = 0.0,
) -> Ids:
    """Partition the body in a scan into supervoxels.

    Args:
        image: (Z, Y, X) float32 intensities in any unit; only their ratio to the range counts.
        spacing: mm between neighbours along z, y and x; y is taken to equal x.
        min_size: voxels of the smallest segment, before what lies outside the body is cut off.
        scale: preference for large segments, as in `skimage.segmentation.felzenszwalb`.
        sigma: standard deviation of the Gaussian smoothing beforehand, in in-plane voxels.

    Returns:
        (Z, Y, X) int32 ids 1…K, every one in use; 0 outside the body.

    Raises:
        VolumeError: the image holds NaN or infinity.

    Deviates: the official code leaves ids without voxels; ties between equal costs are broken
        by edge index here, by an unstable sort there.
    """
    byte_range = to_byte_range(image)
    body = body_mask(byte_range, BODY_THRESHOLD)
    segments = felzenszwalb_3d(byte_range, spacing, min_size=min_size, scale=scale, sigma=sigma)
    return contiguous_ids(np.where(body, segments + 1, 0))


def felzenszwalb_3d(
    image: Floats,
    spacing: tuple[float, float, float],
    *,
    min_size: int,
    scale: float = 1.0,
    sigma: float = 0.0,
) -> Ids:
    """Partition a whole volume by greedy merging along edges of growing cost.

    Two segments merge across an edge cheaper than `internal cost + scale / 255 / size` of both;
    afterwards segments below `min_size` merge across their cheapest edge.

    Args:
        image: (Z, Y, X) float32 on the 0…255 scale.
        spacing, min_size, scale, sigma: as in `supervoxels`.

    Returns:
        (Z, Y, X) int32 ids 0…K-1 in the order of their first voxels; every segment is 26-connected.
    """
    slice_ratio = spacing[0] / spacing[2]
    if sigma > 0:
        image = ndimage.gaussian_filter(image, (sigma / slice_ratio, sigma, sigma))
    costs = edge_costs(image, slice_ratio).ravel()
    edges_inside = np.count_nonzero(np.isfinite(costs))
    order = stable_order(costs)[:edges_inside]
    _, height, width = image.shape
    steps = np.array([(dz * height + dy) * width + dx for dz, dy, dx in DIRECTIONS])
    roots = merge(costs, order, steps, scale / 255, min_size)
    is_root = roots == np.arange(len(roots))
    return (np.cumsum(is_root, dtype=np.int32) - 1)[roots].reshape(image.shape)


def edge_costs(image: Floats, slice_ratio: float) -> Floats:
    """Cost of the edge from each voxel along each of `DIRECTIONS`.

    The intensity difference is weighted by the root mean square of the spacings it crosses, in
    units of the in-plane spacing: 1 in plane, `slice_ratio` s along z, sqrt((1 + s²) / 2) along
    zy and zx, sqrt((2 + s²) / 3) along zyx.

    Returns:
        (13, Z, Y, X) float32, infinite where the edge leaves the volume.
    """
    costs = np.full((len(DIRECTIONS), *image.shape), np.inf, np.float32)
    for cost, (dz, dy, dx) in zip(costs, DIRECTIONS, strict=True):
        here = inside(-dz), inside(-dy), inside(-dx)
        there = inside(dz), inside(dy), inside(dx)
        axes_crossed = abs(dz) + abs(dy) + abs(dx)
        mean_square = (abs(dz) * slice_ratio**2 + abs(dy) + abs(dx)) / axes_crossed
        difference = np.subtract(image[here], image[there], out=cost[here])
        np.abs(difference, out=difference)
        difference *= np.float32(np.sqrt(mean_square))
    return costs


def inside(step: int) -> slice:
    """Positions along an axis that `step`, which is -1, 0 or 1, leads to from another position."""
    return slice(max(step, 0), min(step, 0) or None)
