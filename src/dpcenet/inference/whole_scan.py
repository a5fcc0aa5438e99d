"""What a whole scan says of an answer that was found slice by slice.

An organ goes on from slice to slice. Where the labelled one is in one part, so is the query's:
whatever lies apart from the largest part is something else. And an organ has intensities of its own
in each scan (`intensities`). What each of them gains is measured in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.inference.intensities import weighed_by_intensity
from dpcenet.inference.support import Labels
from dpcenet.system.large_arrays import give_back, room_for
from dpcenet.volumes.boxes import Box, box_above, label_boxes

Floats = npt.NDArray[np.float32]

SMOOTH_MM = 6.0  # deviation of the Gaussian across slices
REACH_MM = 20.0  # how far around a label there is anything to change
ROWS = 64  # of all slices, that are smoothed together
ONE_PART = 0.95  # of a label's voxels; one of which the largest part holds less is in several


def is_in_one_part(labels: Sequence[Labels], value: int) -> bool:
    """Whether a label is in one part in every labelled scan (Z, H, W) that shows it."""
    boxes = ((label, label_boxes(label).get(value)) for label in labels)
    shown = (label[box] == value for label, box in boxes if box is not None)
    kept = (keep_parts(mask, 1.0, True, 0.0).sum() / mask.sum() for mask in shown)
    return all(share >= ONE_PART for share in kept)


def as_one_volume(
    probability: Floats, image: Floats, spacing: tuple[float, float, float], one_part: bool
) -> Floats:
    """The answer for a label, seen as a volume.

    Args:
        probability: (Z, H, W) of one label, which is changed: a copy of a long scan is large.
        image: (Z, H, W), the query.
        spacing: of it along z, y, x in mm.
        one_part: whether the label is one connected part.

    Returns:
        the same (Z, H, W); nowhere above one half apart from the largest part, if there is but one.
        As it was where nothing is above one half, and far from where something is.
    """
    tight = box_above(probability, 0.5)
    if tight is None:
        return probability
    around = box_around(tight, spacing, REACH_MM)
    found = smooth_across(probability[around], spacing[0], SMOOTH_MM)
    if one_part:
        found = largest_part(found)
    found = weighed_by_intensity(found, image[around], spacing)
    probability[around] = largest_part(found) if one_part else found
    return probability


def box_around(tight: Box, spacing: tuple[float, float, float], mm: float) -> tuple[slice, ...]:
    """The slices, rows and columns of a box, and those up to `mm` from it."""
    margins = (math.ceil(mm / step) for step in spacing)
    return tuple(
        slice(max(0, side.start - margin), side.stop + margin)
        for side, margin in zip(tight, margins, strict=True)
    )


def largest_part(probability: Floats) -> Floats:
    """Probabilities (Z, H, W), 0 where they are above one half apart from the largest part."""
    mask = probability > 0.5
    dropped = mask & ~keep_parts(mask, 1.0, True, 0.0)
    return np.where(dropped, np.float32(0), probability)


def smooth_across(
    probability: npt.NDArray[np.float32], spacing_mm: float, sigma_mm: float
) -> npt.NDArray[np.float32]:
    """Probabilities (Z, H, W) smoothed along z; beyond the first and last slice they go on."""
    smoothed: npt.NDArray[np.float32] = room_for(probability.shape, np.float32)
    for first in range(0, probability.shape[1], ROWS):
        rows = slice(first, first + ROWS)
        smoothed[:, rows] = ndimage.gaussian_filter1d(
            probability[:, rows], sigma_mm / spacing_mm, axis=0, mode="nearest"
        )
        for each in (smoothed, probability):
            give_back(each)
    return smoothed


def keep_parts(
    mask: npt.NDArray[np.bool_], voxel_mm3: float, largest: bool, min_volume_mm3: float
) -> npt.NDArray[np.bool_]:
    """The connected parts of a mask (Z, Y, X) that the rules keep.

    Of parts of the same size the first one counts as the largest.
    """
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts[mask], minlength=1)
    kept = sizes * voxel_mm3 >= max(min_volume_mm3, 1e-9)
    if largest:
        kept &= np.arange(len(sizes)) == sizes.argmax()
    kept[0] = False
    return np.asarray(kept[parts])
