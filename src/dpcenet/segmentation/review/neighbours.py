"""What the other labels say against a mask: territory of theirs in it, and a place unlike theirs.

A query is oriented like its labelled scan by the affines of both (RAS+ mm), so the axes of their
prepared slices run alike; distances along them, in mm, can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dpcenet.inference.support import Labels
from dpcenet.system.large_arrays import give_back
from dpcenet.volumes.boxes_and_values import Mask, box_of, centre_of, label_boxes

Centre = npt.NDArray[np.float64]
"""(3,) mm along z, y and x of the prepared slices."""


def centres_mm(label_map: Labels, spacing: tuple[float, float, float]) -> dict[int, Centre]:
    """The centre of mass of every label of a label map (Z, H, W); spacing in mm."""
    boxes = label_boxes(label_map)
    return {v: _centre(label_map[box] == v, box, spacing) for v, box in boxes.items()}


def _centre(mask: Mask, box: tuple[slice, ...], spacing: tuple[float, float, float]) -> Centre:
    """In mm, of a mask that lies in a box of the scan."""
    middle = centre_of(mask)
    first = [side.start for side in box]
    centre: Centre = np.multiply(np.add(middle, first), spacing)
    return centre


def taken_in_support(carried: Mask, drawn: Labels, value: int) -> float:
    """How much of another label's territory a mask holds, seen in the labelled scan.

    Args:
        carried: (Z, H, W), the label as the labelled scan shows it when it is segmented from the
            query's own mask (the reverse check).
        drawn: (Z, H, W), what a person drew there.
        value: the label.

    Returns:
        the share of `carried` that lies on the one other label which has most of it; 0…1.
    """
    values, counts = np.unique(drawn[carried], return_counts=True)
    others = counts[(values != 0) & (values != value)]
    return float(others.max() / carried.sum()) if len(others) else 0.0


def claimed_by_another(
    probability: Mapping[int, npt.NDArray[np.float32]], mask: Mask, value: int
) -> float:
    """The share of a label's mask that another label claims, too: the mean of its probability.

    Args:
        probability: label value → (Z, H, W).
        mask: (Z, H, W) of the label; not empty.
        value: the label.

    Returns:
        that of the one other label which claims most; 0…1.
    """
    box = box_of(mask)
    inside = mask[box]
    claims = []
    for other in (each for v, each in probability.items() if v != value):
        claims.append(float(other[box][inside].mean()))
        give_back(other)
    return max(claims, default=0.0)


def displacement_mm(
    value: int, here: Mapping[int, Centre], there: Mapping[int, Centre]
) -> float | None:
    """How far a label lies from where the other labels put it.

    Each other label expects it at its own centre plus the way from one to the other in the labelled
    scan. The median distance from these places counts (the lower one of two), so that one other
    label at a wrong place does not speak against all.

    Args:
        value: the label.
        here, there: label value → centre in the query, and in the labelled scan in its pose.

    Returns:
        mm; None where no other label is shown by both.
    """
    distances = sorted(
        float(np.linalg.norm((here[value] - here[v]) - (there[value] - there[v])))
        for v in here.keys() & there.keys()
        if v != value
    )
    return distances[(len(distances) - 1) // 2] if distances else None
