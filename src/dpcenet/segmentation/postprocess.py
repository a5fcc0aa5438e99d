"""Rules that use the third dimension: smoothing across slices, largest part, smallest volume.

All are off by default; the record of a mask says which were on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dpcenet.inference.whole_scan import keep_parts, smooth_across
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.system.large_arrays import changed, give_back, room_for
from dpcenet.types import Volume
from dpcenet.volumes.boxes_and_values import label_boxes


@dataclass(frozen=True)
class Consistency:
    """Which rules are on.

    Attributes:
        smooth_mm: standard deviation of a Gaussian across slices, on the probabilities; 0 is off.
        largest: keep the largest connected part of each label (parts touch at faces).
        min_volume_mm3: parts below this volume are dropped; 0 is off.
    """

    smooth_mm: float = 0.0
    largest: bool = False
    min_volume_mm3: float = 0.0

    def __post_init__(self) -> None:
        if not (self.smooth_mm >= 0 and self.min_volume_mm3 >= 0):
            raise ValueError(f"lengths and volumes must not be below 0: {self}")

    def apply(self, result: SegmentationResult) -> SegmentationResult:
        """The result with the rules applied: first the smoothing, then the parts."""
        if self.smooth_mm > 0:
            spacing = result.query.spacing[0]
            probability = {
                value: smooth_across(each, spacing, self.smooth_mm)
                for value, each in result.probability.items()
            }
            result = result.with_probability(probability)
        if self.largest or self.min_volume_mm3 > 0:
            result = replace(result, mask=self._parts(result.mask))
        return result

    def _parts(self, mask: Volume) -> Volume:
        voxel = float(abs(np.linalg.det(mask.affine[:3, :3])))
        data = changed(mask.data, np.uint8, room_for(mask.data.shape, np.uint8))
        for value, box in label_boxes(data).items():
            inside = data[box]
            kept = keep_parts(inside == value, voxel, self.largest, self.min_volume_mm3)
            inside[(inside == value) & ~kept] = 0
            give_back(data)
        return Volume(data, mask.affine)
