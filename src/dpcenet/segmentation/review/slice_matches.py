"""Which slice of which labelled scan served each slice of a result, kept for who reviews it.

Files store slices in any order, and the network sees its own. So slices are named by their number
on a line through their middles, and the line is given in millimetres of the patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.inference.support import SliceTask
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.volumes.geometry import Affine

Point = tuple[float, float, float]
NOTHING = -1


@dataclass(frozen=True)
class SliceLine:
    """Where the slices of a scan lie as the network saw them, in RAS+ mm.

    Attributes:
        first: the middle of slice 0.
        step: from a slice to the next one.
        count: how many there are.
    """

    first: Point
    step: Point
    count: int

    @staticmethod
    def of(affine: Affine, shape: Sequence[int]) -> SliceLine:
        """The line of a prepared scan: its (4, 4) affine and its shape (Z, H, W)."""
        middle = affine @ [0, (shape[1] - 1) / 2, (shape[2] - 1) / 2, 1]
        return SliceLine(_point(middle[:3]), _point(affine[:3, 0]), int(shape[0]))

    def nearest(self, point: npt.NDArray[np.float64]) -> int | None:
        """The slice in which a point (RAS+ mm) lies; None beyond the first and the last one."""
        step = np.array(self.step)
        z = round(float((point - np.array(self.first)) @ step / (step @ step)))
        return z if 0 <= z < self.count else None

    def middle_of(self, z: int) -> npt.NDArray[np.float64]:
        """The middle of a slice, RAS+ mm."""
        middle: npt.NDArray[np.float64] = np.array(self.first) + z * np.array(self.step)
        return middle


@dataclass(frozen=True)
class ScanMatches:
    """The slices of one labelled scan that served.

    Attributes:
        scan: what the call named it, mostly a path.
        slices: where its slices lie; None where nobody knows (of a task file).
        whole: for each query slice, its slice at the same place in the body.
        labels: label name → for each query slice, its slice that served for the label; -1 where
            none did, as the organ was not expected there.
    """

    scan: str
    slices: SliceLine | None
    whole: tuple[int, ...]
    labels: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class SliceMatches:
    """The slices of labelled scans that served for a query.

    Attributes:
        query: where its slices lie.
        scans: the labelled scans.
    """

    query: SliceLine
    scans: tuple[ScanMatches, ...]


def slice_matches(result: SegmentationResult, names: Mapping[int, str]) -> SliceMatches:
    """What served for a result.

    Args:
        result: what `Segmenter.find` found in a query.
        names: label value → name.
    """
    count = len(result.query)
    scans = [
        ScanMatches(
            scan.name,
            None if scan.affine is None else SliceLine.of(scan.affine, scan.label.shape),
            tuple(result.matches[number].tolist()),
            {names[v]: _served(tasks, number, count) for v, tasks in result.tasks.items()},
        )
        for number, scan in enumerate(result.scans)
    ]
    return SliceMatches(SliceLine.of(result.record.affine, result.record.shape), tuple(scans))


def _served(tasks: Sequence[SliceTask], scan: int, count: int) -> tuple[int, ...]:
    """For each query slice the slice of a scan that served; its neighbours come behind it."""
    served = [NOTHING] * count
    for task in tasks:
        chosen = next((slice_.z for slice_ in task.support if slice_.scan == scan), NOTHING)
        for z in task.query:
            served[z] = chosen
    return tuple(served)


def _point(vector: npt.NDArray[np.float64]) -> Point:
    x, y, z = (round(float(each), 4) for each in vector)
    return x, y, z
