"""What is measured of each label in a scan: volume, intensities, size, place.

The one definition for the tables of `dpcenet segment`, of the app, and of `dpcenet.Result`. All of
it is measured on the scan's own voxels. Texture and shape features are left to pyradiomics, which
takes the same scan and mask; see docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.system.large_arrays import blocks, give_back
from dpcenet.volumes.boxes_and_values import centre_of, label_boxes
from dpcenet.volumes.geometry import Affine

PERCENTILES = (5, 25, 50, 75, 95)

COLUMNS = (
    *("volume ml", "voxels", "mean", "sd", "p5", "p25", "median", "p75", "p95"),
    *("extent left-right mm", "extent front-back mm", "extent head-feet mm"),
    *("centre R mm", "centre A mm", "centre S mm", "largest diameter mm"),
)
"""Of tables, in the order of `LabelStatistics`."""


@dataclass(frozen=True)
class LabelStatistics:
    """One label of one scan.

    Attributes:
        ml: volume in millilitres: voxels times the volume of a voxel.
        voxels: their number.
        mean, sd: of the intensities inside, in the unit of the scan (HU in CT); sd is that of the
            voxels themselves (divided by n).
        percentiles: of the intensities, at `PERCENTILES`, linear between voxels.
        extent_mm: from the first to the last voxel, both whole, along the three axes of the scan
            nearest to the patient's: left-right, front-back, head-feet.
        centre_mm: mean place of the voxels' centres, in RAS+ mm.
        diameter_mm: largest distance between two voxel centres, in any direction.
    """

    ml: float
    voxels: int
    mean: float
    sd: float
    percentiles: tuple[float, ...]
    extent_mm: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    diameter_mm: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to a thousandth."""
        return {each.name: _rounded(getattr(self, each.name)) for each in fields(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> LabelStatistics:
        """What `to_json` made."""
        values = {each.name: data[each.name] for each in fields(LabelStatistics)}
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return LabelStatistics(**plain)

    def cells(self) -> dict[str, float]:
        """Column of a table → number, rounded to a thousandth."""
        values: list[float] = []
        for each in self.to_json().values():
            values += each if isinstance(each, list) else [each]
        return dict(zip(COLUMNS, values, strict=True))


def measure_labels(
    image: npt.NDArray[Any], labels: npt.NDArray[np.integer], affine: Affine
) -> dict[int, LabelStatistics]:
    """Statistics of every label that has voxels.

    Args:
        image: (Z, Y, X) intensities.
        labels: (Z, Y, X) label values; 0 is background.
        affine: (4, 4), takes the index (z, y, x, 1) to RAS+ mm.

    Returns:
        label value → statistics, in the order of the values.
    """
    found = {}
    for value, box in label_boxes(labels).items():
        first = [part.start for part in box]
        at = affine.copy()
        at[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
        found[value] = _measure(image[box], labels[box] == value, at)
        give_back(labels)
    return found


def _measure(
    image: npt.NDArray[Any], inside: npt.NDArray[np.bool_], affine: Affine
) -> LabelStatistics:
    """Statistics of a mask that touches all sides of its array."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    parts = [image[part][inside[part]].astype(np.float64) for part in blocks(image)]
    grey = np.concatenate(parts)
    index = centre_of(inside)
    lengths = inside.shape * spacing
    centre = affine[:3, :3] @ index + affine[:3, 3]
    along = _axes_of_patient(affine)
    return LabelStatistics(
        ml=float(inside.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000),
        voxels=int(inside.sum()),
        mean=float(grey.mean()),
        sd=float(grey.std()),
        percentiles=tuple(np.percentile(grey, PERCENTILES).tolist()),
        extent_mm=(float(lengths[along[0]]), float(lengths[along[1]]), float(lengths[along[2]])),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        diameter_mm=largest_diameter_mm(inside, spacing.tolist()),
    )


def _axes_of_patient(affine: Affine) -> tuple[int, ...]:
    """The array's axis that is nearest to left-right, front-back and head-feet, each used once."""
    unit = np.abs(affine[:3, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    return max(permutations(range(3)), key=lambda axes: float(unit[[0, 1, 2], list(axes)].sum()))


def largest_diameter_mm(inside: npt.NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Largest distance between two voxel centres of a mask (Z, Y, X); 0 where it is empty."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    points = _row_ends(inside) * np.asarray(spacing)
    points = points[:, np.ptp(points, axis=0) > 0] if len(points) else points
    if not points.size:
        return 0.0
    if points.shape[1] == 1:
        return float(np.ptp(points))
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # on an oblique line or plane
        corners = points[ConvexHull(points, qhull_options="QJ").vertices]
    return float(pdist(corners).max())


def _row_ends(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Indices (n, 3) of the first and last voxel of each row: the corners of the mask's convex
    hull are among them, and they are far fewer than its voxels."""
    z, y = np.nonzero(inside.any(axis=2))
    rows = inside[z, y]
    first, last = rows.argmax(axis=1), rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    ends = [np.stack([z, y, x], axis=1) for x in (first, last)]
    return np.concatenate(ends).astype(np.float64)


def _rounded(value: Any) -> Any:
    """A number, or several as a list, to a thousandth."""
    if isinstance(value, tuple):
        return [round(each, 3) for each in value]
    return round(value, 3)
