"""Where the patient is in a scan, and other steps that all pseudo-labels share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dpcenet.errors import VolumeError

Floats = npt.NDArray[np.float32]


def body_mask(image: Floats, threshold: float) -> npt.NDArray[np.bool_]:
    """Largest region above `threshold` in each slice, with its holes filled.

    Args:
        image: (Y, X) or (Z, Y, X) intensities.
        threshold: air is at or below this.

    Returns:
        Boolean mask of the image's shape; a slice without a pixel above the threshold is empty.
    """
    if image.ndim == 3:
        return np.stack([body_mask(plane, threshold) for plane in image])
    regions, _ = ndimage.label(image > threshold, structure=np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    largest = (regions == sizes.argmax()) & (regions > 0)
    return np.asarray(ndimage.binary_fill_holes(largest), np.bool_)


def to_byte_range(image: Floats) -> Floats:
    """The image with its minimum at 0 and its maximum at 255; a constant image becomes 0.

    Raises:
        VolumeError: the image holds NaN or infinity.
    """
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(high - low):
        raise VolumeError("image", "NaN or infinite intensities", "finite ones", "Replace them.")
    if high == low:
        return np.zeros_like(image, np.float32)
    return ((image - np.float32(low)) * np.float32(255 / (high - low))).astype(np.float32)


def contiguous_ids(segments: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Segments (...) with their positive ids renumbered 1…K in ascending order; 0 stays 0."""
    used = np.bincount(segments.ravel()) > 0
    used[0] = False
    table = np.where(used, np.cumsum(used), 0).astype(np.int32)
    return np.take(table, segments)
