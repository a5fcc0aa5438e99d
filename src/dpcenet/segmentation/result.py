"""What was found in one query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_tasks import Matches
from dpcenet.inference.support import LabelledScan
from dpcenet.types import Volume
from dpcenet.volumes.record import Record


@dataclass(frozen=True)
class SegmentationResult:
    """What was found in one query, in the network's geometry and on the query's own grid.

    Attributes:
        query: its encoded slices.
        scans: the labelled scans as they served, aligned with the query.
        matches: for each labelled scan, the slice of it that each query slice matches.
        probability: label value → (Z, H, W) float32, in the network's geometry.
        record: the way back to the query's own grid.
        mask: uint8 label values on the query's own grid; 0 is background. Where labels overlap,
            the likelier one stands.
    """

    query: EncodedScan
    scans: tuple[LabelledScan, ...]
    matches: tuple[Matches, ...]
    probability: dict[int, npt.NDArray[np.float32]]
    record: Record
    mask: Volume
