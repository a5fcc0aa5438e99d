"""What a whole scan says of an answer that was found slice by slice.

An organ goes on from slice to slice. Where the labelled one is in one part, so is the query's: of
parts that lie apart one is the organ, and the others are something else.

And an organ has intensities of its own in each scan, where the network sees 96 pixels along a
slice's side and scans of every kind. A histogram of what was found, and one of what lies around it,
say of each voxel to which of the two it belongs; where they are alike, they say nothing. What each
gains is measured in docs/log.md.

Source: the histograms of GrabCut's forerunner (Boykov and Jolly, 2001), with probabilities in place
of a person's strokes, and without the cut. A mask has the highest expected Dice where probabilities
are cut at half of that Dice (Lipton, Elkan and Naryanaswamy, 2014).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit, logit

from dpcenet.inference.support import LabelledScan, Labels
from dpcenet.system.large_arrays import give_back, planes, room_for
from dpcenet.volumes.boxes_and_values import Box, Mask, box_above, within_mm

Floats = npt.NDArray[np.float32]
Boxes = Mapping[int, Box]

SMOOTH_MM = 6.0  # deviation of the Gaussian across slices
REACH_MM = 20.0  # how far around a label there is anything to change
ROWS = 64  # of all slices, that are smoothed together
ONE_PART = 0.95  # of a label's voxels; one of which the largest part holds less is in several
ANOTHERS = 0.01  # weight of a voxel that is likelier another organ's, or that smoothing filled
NEAR = 1 / 8  # of a slice's side: deviation of the organ's place in the plane


@dataclass(frozen=True)
class OnePart:
    """What the labelled scans say of a label that is in one part.

    Attributes:
        centre: (y, x) in the plane, in pixels.
        voxels: its size in voxels of the query.
    """

    centre: tuple[float, float]
    voxels: float

    @staticmethod
    def of(
        scans: Sequence[LabelledScan], boxes: Sequence[Boxes], value: int, slice_mm: float
    ) -> OnePart | None:
        """What labelled scans say, which lie as the query does; None where one shows several parts.

        Args:
            scans: with pixels of the query's size.
            boxes: `label_boxes` of each scan, which are found for all labels at once.
            value: the label.
            slice_mm: distance of the query's slices.
        """
        seen, shares = [], []
        for scan, box in zip(scans, (each.get(value) for each in boxes), strict=True):
            if box is not None:
                tight, (_, top, left) = scan.label[box] == value, (each.start for each in box)
                shares.append(keep_parts(tight, 1.0, True, 0.0).sum() / tight.sum())
                _, y, x = (places.mean() for places in np.nonzero(tight))
                seen.append((top + y, left + x, tight.sum() * scan.slices.spacing[0] / slice_mm))
        if not seen or min(shares) < ONE_PART:
            return None
        y, x, voxels = (fmean(each) for each in zip(*seen, strict=True))
        return OnePart((y, x), voxels)

    def within(self, box: Sequence[slice]) -> OnePart:
        """The same as a box of the query sees it."""
        (y, x), (_, rows, columns) = self.centre, box
        return OnePart((y - rows.start, x - columns.start), self.voxels)


def as_one_volume(
    probability: Floats,
    image: Floats,
    spacing: tuple[float, float, float],
    known: OnePart | None,
    value: int,
    likeliest: Labels,
) -> Floats:
    """The answer for a label, seen as a volume.

    Args:
        probability: (Z, H, W) of one label, which is changed: a copy of a long scan is large.
        image: (Z, H, W), the query.
        spacing: of it along z, y, x in mm.
        known: of a label that is one connected part; None where it may be in several.
        value: of the label.
        likeliest: (Z, H, W), the likeliest label of each voxel, 0 where none is above one half.

    Returns:
        the same; nowhere above one half apart from the likeliest part, if there is but one. As it
        was where nothing is above one half, and far from where something is.
    """
    tight = box_above(probability, 0.5)
    if tight is None:
        return probability
    around = box_around(tight, spacing, REACH_MM)
    near = NEAR * max(probability.shape[1:])
    here = None if known is None else known.within(around)
    own = likeliest[around] == value
    found = smooth_across(probability[around], spacing[0], SMOOTH_MM)
    if here is not None:
        found = likeliest_part(found, here, near, own)
    found = weighed_by_intensity(found, image[around], spacing)
    probability[around] = found if here is None else likeliest_part(found, here, near, own)
    return probability


def edge_at_half(probability: Floats, edge: float) -> None:
    """Change probabilities (Z, H, W) of a label so that its edge is at one half, not at `edge`.

    Odds are multiplied by the inverse odds of `edge`, which is below one half. Masks grow; where
    nothing was above one half before, nothing is above it after.
    """
    tight = box_above(probability, edge)
    if tight is None:
        return
    there = probability[tight]
    grown = ndimage.binary_propagation(there > 0.5, mask=there > edge)
    odds = np.float32((1 - edge) / edge)
    for plane in planes(probability):
        plane *= odds / (1 + (odds - 1) * plane)
    np.minimum(there, 0.5, out=there, where=~grown)


def box_around(tight: Box, spacing: tuple[float, float, float], mm: float) -> tuple[slice, ...]:
    """The slices, rows and columns of a box, and those up to `mm` from it."""
    margins = (math.ceil(mm / step) for step in spacing)
    return tuple(
        slice(max(0, side.start - margin), side.stop + margin)
        for side, margin in zip(tight, margins, strict=True)
    )


def likeliest_part(
    probability: Floats, known: OnePart, near: float, own: Mask | None = None
) -> Floats:
    """Probabilities (Z, H, W), 0 where they are above one half apart from the likeliest part.

    Large parts are likely, but none for being larger than the labelled organ, nor for voxels that
    are likelier another organ's; and those that lie in the plane where it lies.

    Args:
        probability: of one label.
        known: of the label.
        near: deviation of its place in the plane in pixels.
        own: (Z, H, W), where it is the likeliest label; everywhere by default.
    """
    parts, count = ndimage.label(probability > 0.5)
    if count < 2:
        return probability
    inside = np.nonzero(parts)
    number, weight = parts[inside], probability[inside].astype(np.float64)
    if own is not None:
        weight *= np.where(own[inside], 1.0, ANOTHERS)
    sizes = np.bincount(number, weight)[1:]
    places = [np.bincount(number, weight * axis)[1:] / sizes for axis in inside[1:]]
    away = sum((place - there) ** 2 for place, there in zip(places, known.centre, strict=True))
    likely = np.log(np.minimum(sizes, known.voxels)) - away / (2 * near**2)
    best = 1 + int(likely.argmax())
    return np.where((parts > 0) & (parts != best), np.float32(0), probability)


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
