"""Which case to label next: the one that, corrected and given back as a support, should help most.

A labelled case helps the cases that look like it, and most where the predicted Dice is low. Its
gain is the sum over all cases of (1 - predicted Dice) times how much more similar the case is to it
than to any case labelled so far. The largest gain comes first (facility location, greedily).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_matching import descriptors
from dpcenet.inference.support import Support
from dpcenet.methods.base import Method
from dpcenet.volumes.boxes_and_values import Mask

BUCKETS = 512  # numbers of a signature


@dataclass(frozen=True)
class Candidate:
    """A case that could be labelled next.

    Attributes:
        name: of the case.
        dice: mean predicted Dice of its labels, 0…1.
        signature: of what it shows; see `signature_of`.
    """

    name: str
    dice: float
    signature: npt.NDArray[np.float64]


def signature_of(method: Method, slices: EncodedScan, shown: Mask) -> npt.NDArray[np.float64]:
    """The mean descriptor of the slices in which the mask `shown` (Z, H, W) has a voxel, shortened.

    Descriptors have tens of thousands of numbers. They are added up in random buckets with random
    signs, which changes the cosine of any two by about 1/√BUCKETS.

    Returns:
        a unit vector (BUCKETS,); of all slices if the mask is empty.

    Source: Charikar et al., "Finding frequent items in data streams" (2002).
    """
    (rows,) = descriptors(method, slices)
    touched = np.flatnonzero(shown.any(axis=(1, 2)))
    mean = rows[touched if len(touched) else slice(None)].mean(axis=0)
    random = np.random.default_rng(0)  # the same buckets for every scan
    bucket = random.integers(BUCKETS, size=len(mean))
    sign = random.choice([-1.0, 1.0], size=len(mean))
    sums = np.bincount(bucket, weights=sign * mean, minlength=BUCKETS)
    unit: npt.NDArray[np.float64] = sums / max(float(np.linalg.norm(sums)), 1e-12)
    return unit


def support_signatures(method: Method, support: Support) -> list[npt.NDArray[np.float64]]:
    """The signature of every labelled scan."""
    shown = [np.isin(scan.label, support.values) for scan in support.scans]
    return [
        signature_of(method, scan.slices, mask)
        for scan, mask in zip(support.scans, shown, strict=True)
    ]


def suggest_order(
    candidates: Sequence[Candidate], labelled: Sequence[npt.NDArray[np.float64]]
) -> list[Candidate]:
    """The candidates in the order in which labelling them should help most.

    Args:
        candidates: cases that were segmented.
        labelled: signatures of the support scans.
    """
    if not candidates:
        return []
    signatures = np.stack([candidate.signature for candidate in candidates])
    similarity = signatures @ signatures.T
    uncertainty = np.array([1 - candidate.dice for candidate in candidates])
    covered = np.max([signatures @ known for known in labelled], axis=0)
    left, order = list(range(len(candidates))), []
    while left:
        gains = (np.maximum(similarity[left] - covered, 0) * uncertainty).sum(axis=1)
        best = left.pop(int(gains.argmax()))
        covered = np.maximum(covered, similarity[best])
        order.append(candidates[best])
    return order
