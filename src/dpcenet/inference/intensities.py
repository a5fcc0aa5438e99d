"""An answer is weighed by the intensities that its organ has in this very scan.

The network sees 96 pixels along a slice's side and scans of every kind. In one scan an organ has
intensities of its own: a histogram of what was found, and one of what lies around it, say of each
voxel to which of the two it belongs. Where the two are alike, they say nothing.

Source: the histograms of GrabCut's forerunner (Boykov and Jolly, 2001), with probabilities in place
of a person's strokes, and without the cut.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit, logit

Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

WEIGHT = 0.75  # of the histograms beside the network
AROUND_MM = 15.0  # how far around a label voxels are compared with it
BLUR_MM = 1.25  # deviation of the Gaussian in the plane that takes noise off the intensities
LEAST = 50  # voxels of a label below which it has no histogram
BINS = 48
MOST = 2.5  # greatest logarithm of the ratio of both histograms
SURE = 1e-3  # probabilities nearer to 0 and 1 count as this


def weighed_by_intensity(
    probability: Floats, image: Floats, spacing: tuple[float, float, float]
) -> Floats:
    """Probabilities of a label, after its intensities had their say near the label.

    Args:
        probability: (Z, H, W) in 0…1.
        image: (Z, H, W) intensities, of any scale.
        spacing: along z, y, x in mm.

    Returns:
        (Z, H, W); as it was where fewer than `LEAST` voxels are above one half.
    """
    mask = probability > 0.5
    if np.count_nonzero(mask) < LEAST:
        return probability
    box = _box_around(mask, spacing)
    near = ndimage.distance_transform_edt(~mask[box], sampling=spacing) <= AROUND_MM
    inside = probability[box][near].astype(np.float64)
    bins = _bins(image[box], spacing)[near]
    ratio = np.log(_histogram(bins, inside**2) / _histogram(bins, (1 - inside) ** 2))
    sure = logit(inside.clip(SURE, 1 - SURE))
    found = probability.copy()
    found[box][near] = expit(sure + WEIGHT * ratio.clip(-MOST, MOST)[bins])
    return found


def _box_around(mask: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> Box:
    """The slices, rows and columns of a mask, and those up to `AROUND_MM` from it."""
    (tight,) = ndimage.find_objects(mask.astype(np.int8))
    margins = [math.ceil(AROUND_MM / mm) for mm in spacing]
    z, y, x = (
        slice(max(0, one.start - margin), one.stop + margin)
        for one, margin in zip(tight, margins, strict=True)
    )
    return z, y, x


def _bins(image: Floats, spacing: tuple[float, float, float]) -> npt.NDArray[np.int64]:
    """The bin, 0 … BINS − 1, of each voxel's intensity; both ends gather what lies beyond."""
    _, dy, dx = spacing
    smooth = ndimage.gaussian_filter(image, (0, BLUR_MM / dy, BLUR_MM / dx))
    low, high = np.percentile(smooth, (0.5, 99.5))
    share = (smooth - low) / max(float(high - low), 1e-6)
    bins: npt.NDArray[np.int64] = np.clip((BINS * share).astype(np.int64), 0, BINS - 1)
    return bins


def _histogram(bins: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]) -> Floats:
    """(BINS,) share of the weight in each bin, smoothed, and nowhere 0."""
    counts = np.bincount(bins, weight, minlength=BINS)
    shares: Floats = ndimage.gaussian_filter1d(counts / max(counts.sum(), 1e-6), 1.2)
    return shares + 0.1 / BINS
