"""How well a mask agrees with the truth: Dice, IoU, HD95 and normalised surface Dice (NSD).

Masks are (Z, Y, X) bool arrays of one label; spacing is (z, y, x) in mm. The surface of a mask is
the marching-cubes surface between voxel centres, in patches of known area; outside the volume is
background. A patch sits at the corner that eight voxels share, so a distance is one between
corners. HD95 is the larger of the two directed, area-weighted 95th percentiles.

Policy for empty masks. Every score is a finite number, so that no mean can drop a missed structure:

    | truth | prediction | dice, iou, nsd | hd95_mm                                |
    |-------|------------|----------------|----------------------------------------|
    | empty | empty      | 1              | 0                                      |
    | empty | not empty  | 0              | diagonal of the volume (invented)      |
    | not   | empty      | 0              | diagonal of the volume (missed)        |

No two surfaces in a volume are farther apart than its diagonal, so that a miss is never better
than a wrong answer. Whether a label absent from the truth is scored at all, the caller decides.

Source: S. Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy for
Radiotherapy", JMIR 2021 (surface Dice), whose `surface-distance` package gives the same numbers
where neither mask is empty.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.volumes.boxes_and_values import Mask

Spacing = tuple[float, float, float]

DEFAULT_TOLERANCE_MM = 2.0

# The eight voxels around a corner make a code: bit 7 is voxel (0, 0, 0), bit 0 is voxel (1, 1, 1).
_VOXELS = tuple(product((0, 1), repeat=3))
_FULL = 0b11111111

# Marching cubes: codes up to symmetry → normals (z, y, x) of their patches, parallel ones summed.
# The length of a normal is an area in eighths of a voxel's face, at spacing 1. Condensed from the
# 256-row table of `surface-distance` (Google, Apache-2.0); the tests rebuild it independently.
_PATCHES: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((4, 4, 0),),
    0b00000110: ((2, 2, 2),),
    0b00000111: ((3, 3, 3), (4, 0, 0)),
    0b00001111: ((8, 0, 0),),
    0b00010110: ((3, 3, 3),),
    0b00010111: ((6, 6, 6),),
    0b00011000: ((2, 2, 2),),
    0b00011001: ((1, 1, 1), (0, 4, 4)),
    0b00011011: ((4, 4, 4), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 4, 4), (4, 0, 0)),
    0b00111100: ((8, 8, 0),),
    0b01101001: ((4, 4, 4),),
}


class MaskScores(NamedTuple):
    """The four scores of one mask.

    Attributes:
        dice, iou, nsd: 0…1, higher is better.
        hd95_mm: 0…diagonal of the volume, in mm, lower is better.
    """

    dice: float
    iou: float
    hd95_mm: float
    nsd: float


class _Surface(NamedTuple):
    """Patches of one surface: (P,) distances in mm to the other surface, (P,) areas in mm²."""

    distances: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]


def dice(prediction: Mask, truth: Mask) -> float:
    """Twice the overlap over the sum of the sizes: 2|P∩T| / (|P|+|T|), 0…1."""
    _check_masks(prediction, truth)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(prediction & truth)) / total if total else 1.0


def iou(prediction: Mask, truth: Mask) -> float:
    """Overlap over union: |P∩T| / |P∪T|, 0…1."""
    _check_masks(prediction, truth)
    union = int(np.count_nonzero(prediction | truth))
    return int(np.count_nonzero(prediction & truth)) / union if union else 1.0


def hd95_mm(prediction: Mask, truth: Mask, spacing: Spacing) -> float:
    """95th percentile of the surface distances, the worse of the two directions, in mm."""
    return score_mask(prediction, truth, spacing).hd95_mm


def nsd(
    prediction: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float = DEFAULT_TOLERANCE_MM
) -> float:
    """Share of both surfaces that lies at most `tolerance_mm` from the other one, 0…1."""
    return score_mask(prediction, truth, spacing, tolerance_mm).nsd


def score_mask(
    prediction: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float = DEFAULT_TOLERANCE_MM
) -> MaskScores:
    """All four scores, with the surface distances computed once.

    Args:
        prediction: (Z, Y, X) bool.
        truth: (Z, Y, X) bool.
        spacing: (z, y, x) in mm.
        tolerance_mm: how far apart two surfaces may be and still count as the same, for NSD.

    Returns:
        finite scores; for empty masks those of the policy above.

    Raises:
        ValueError: masks that are not 3-D bool of one shape, spacing that is not positive, or a
            negative tolerance.
    """
    _check_masks(prediction, truth)
    if len(spacing) != 3 or not all(0 < step < np.inf for step in spacing):
        raise ValueError(f"spacing must be three positive lengths in mm, got {spacing}")
    if not tolerance_mm >= 0:
        raise ValueError(f"tolerance_mm must be 0 or more, got {tolerance_mm}")

    overlap = dice(prediction, truth), iou(prediction, truth)
    if prediction.any() and truth.any():
        surfaces = _surfaces(prediction, truth, spacing)
        return MaskScores(*overlap, _hd95(*surfaces), _surface_dice(*surfaces, tolerance_mm))
    if prediction.any() or truth.any():
        diagonal = float(np.linalg.norm(np.multiply(truth.shape, spacing)))
        return MaskScores(*overlap, hd95_mm=diagonal, nsd=0.0)
    return MaskScores(*overlap, hd95_mm=0.0, nsd=1.0)


def _check_masks(prediction: Mask, truth: Mask) -> None:
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask.ndim != 3 or mask.dtype != np.bool_:
            raise ValueError(f"{name} must be 3-D bool, got {mask.ndim}-D {mask.dtype}")
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape} but truth is {truth.shape}")


def _hd95(prediction: _Surface, truth: _Surface) -> float:
    return max(_percentile_95(prediction), _percentile_95(truth))


def _percentile_95(surface: _Surface) -> float:
    """The distance that 95 % of the area stays within."""
    order = np.argsort(surface.distances)
    share = np.cumsum(surface.areas[order]) / surface.areas.sum()
    # Rounding can leave the last share below one.
    index = min(int(np.searchsorted(share, 0.95)), len(order) - 1)
    return float(surface.distances[order[index]])


def _surface_dice(prediction: _Surface, truth: _Surface, tolerance_mm: float) -> float:
    areas = np.concatenate([prediction.areas, truth.areas])
    distances = np.concatenate([prediction.distances, truth.distances])
    return float(areas[distances <= tolerance_mm].sum() / areas.sum())


def _surfaces(prediction: Mask, truth: Mask, spacing: Spacing) -> tuple[_Surface, _Surface]:
    """Both surfaces with their distances to each other. Neither mask may be empty."""
    # Distance transforms dominate the cost, and outside this box there is nothing to find.
    box = ndimage.find_objects((prediction | truth).astype(np.uint8))[0]
    codes = _corner_codes(prediction[box]), _corner_codes(truth[box])
    on_prediction, on_truth = ((code != 0) & (code != _FULL) for code in codes)
    areas = _patch_areas(tuple(map(float, spacing)))
    return (
        _Surface(_distances(on_prediction, on_truth, spacing), areas[codes[0][on_prediction]]),
        _Surface(_distances(on_truth, on_prediction, spacing), areas[codes[1][on_truth]]),
    )


def _corner_codes(mask: Mask) -> npt.NDArray[np.uint8]:
    """Which of the eight voxels around each corner are set: (Z+1, Y+1, X+1) codes."""
    depth, height, width = (size + 1 for size in mask.shape)
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit, (z, y, x) in enumerate(reversed(_VOXELS)):
        codes |= padded[z : z + depth, y : y + height, x : x + width] << bit
    return codes


def _distances(points: Mask, surface: Mask, spacing: Spacing) -> npt.NDArray[np.float64]:
    """Distance in mm from each set corner of `points` to the nearest set corner of `surface`."""
    # Asking for the nearest corners is cheaper than for a distance at every corner of the box.
    nearest = ndimage.distance_transform_edt(
        ~surface, sampling=spacing, return_distances=False, return_indices=True
    )
    steps = nearest[:, points] - np.stack(np.nonzero(points))
    squares = (steps * np.reshape(spacing, (3, 1))) ** 2
    return np.asarray(np.sqrt(squares.sum(axis=0)))


@lru_cache(maxsize=16)
def _patch_areas(spacing: Spacing) -> npt.NDArray[np.float64]:
    """Area in mm² of the surface around a corner, for each of the 256 codes."""
    z, y, x = spacing
    faces = np.array([y * x, z * x, z * y])
    areas = np.zeros(256)
    for code, normals in _PATCHES.items():
        voxels = [_VOXELS[7 - bit] for bit in range(8) if code >> bit & 1]
        for axes, flips in product(permutations(range(3)), _VOXELS):
            turned = [
                tuple(voxel[axis] ^ flip for axis, flip in zip(axes, flips, strict=True))
                for voxel in voxels
            ]
            same = sum(1 << (7 - _VOXELS.index(voxel)) for voxel in turned)
            area = sum(np.linalg.norm(np.array(n)[list(axes)] * faces) / 8 for n in normals)
            areas[[same, _FULL - same]] = area  # inside and outside share their surface
    areas.flags.writeable = False  # it is cached
    return areas
