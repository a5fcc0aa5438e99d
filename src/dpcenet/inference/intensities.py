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

WEIGHT = 0.75  # of the histograms beside the network
AROUND_MM = 15.0  # how far around a label voxels are compared with it
BLUR_MM = 1.25  # deviation of the Gaussian in the plane that takes noise off the intensities
LEAST = 50  # voxels of a label below which it has no histogram
BINS = 48
MOST = 2.5  # greatest logarithm of the ratio of both histograms
SURE = 1e-3  # probabilities nearer to 0 and 1 count as this
TOGETHER = 32  # slices that are looked at at once


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
    near = within_mm(mask, spacing, AROUND_MM)
    inside, bins = probability[near].astype(np.float64), _bins(image, near, spacing)
    ratio = np.log(_histogram(bins, inside**2) / _histogram(bins, (1 - inside) ** 2))
    sure = logit(inside.clip(SURE, 1 - SURE))
    found = probability.copy()
    found[near] = expit(sure + WEIGHT * ratio.clip(-MOST, MOST)[bins])
    return found


def within_mm(
    mask: npt.NDArray[np.bool_], spacing: tuple[float, float, float], mm: float
) -> npt.NDArray[np.bool_]:
    """Voxels (Z, H, W) at most `mm` from a mask; some slices at a time, as distances take 20 bytes
    a voxel."""
    near, reach = np.zeros_like(mask), math.ceil(mm / spacing[0])
    for first in range(0, len(mask), TOGETHER):
        low = max(0, first - reach)
        part = mask[low : first + TOGETHER + reach]
        if part.any():
            far = ndimage.distance_transform_edt(~part, sampling=spacing)
            near[first : first + TOGETHER] = far[first - low :][:TOGETHER] <= mm
    return near


def _bins(
    image: Floats, near: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> npt.NDArray[np.int64]:
    """(N,) the bin, 0 … BINS − 1, of the N voxels near a label; both ends gather the rest."""
    _, dy, dx = spacing
    parts = [slice(z, z + TOGETHER) for z in range(0, len(image), TOGETHER)]
    blur = (0, BLUR_MM / dy, BLUR_MM / dx)
    smooth = np.concatenate([ndimage.gaussian_filter(image[z], blur)[near[z]] for z in parts])
    low, high = np.percentile(smooth, (0.5, 99.5))
    share = (smooth - low) / max(float(high - low), 1e-6)
    bins: npt.NDArray[np.int64] = np.clip((BINS * share).astype(np.int64), 0, BINS - 1)
    return bins


def _histogram(bins: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]) -> Floats:
    """(BINS,) share of the weight in each bin, smoothed, and nowhere 0."""
    counts = np.bincount(bins, weight, minlength=BINS)
    shares: Floats = ndimage.gaussian_filter1d(counts / max(counts.sum(), 1e-6), 1.2)
    return shares + 0.1 / BINS
