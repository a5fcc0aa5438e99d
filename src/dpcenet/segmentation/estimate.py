"""What segmenting will take, said before it begins: time from a measured slice, and memory.

The factors are computing time on one core in units of one encoded slice, on CHAOS T2-SPIR scans of
31 to 36 slices with one and with four labels (docs/commands.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import encode_slices
from dpcenet.inference.support import Support
from dpcenet.segmentation import memory_cap
from dpcenet.segmentation.better_answers import MOST
from dpcenet.segmentation.pseudo_labels import FROM, KEPT
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.large_arrays import LARGE
from dpcenet.system.progress import in_words
from dpcenet.system.words import counted

SAMPLE = 8  # slices that are encoded to see how fast this machine is


@dataclass(frozen=True)
class Work:
    """Slices that could be encoded in the time in which one is segmented, and judged.

    Attributes:
        scan, label: for the slice itself, and for each label.
        check, check_label: the same for the check.
    """

    scan: float
    label: float
    check: float
    check_label: float

    def of(self, labels: int, checks: int, times: int = 1) -> float:
        """For a slice of a scan with so many labels, segmented and checked so often."""
        judged = self.check + self.check_label * labels
        return times * (self.scan + self.label * labels) + checks * judged


FULL, FAST = Work(13.0, 4.6, 2.6, 0.9), Work(3.8, 0.65, 1.9, 0.35)
COPIES = 3  # of a scan's slices, features and probabilities: two scans are held at a time
COPIES_TO_LEARN = KEPT + 2  # pseudo-labelled scans; labelled one and query in other features


@dataclass(frozen=True)
class Estimate:
    """What it will take.

    Attributes:
        scans: how many; each is taken to have as many slices as the labelled scan.
        each: seconds for one scan.
        jobs: processes.
        memory: bytes that a process will hold at most; None where the system does not tell.
        ahead: seconds for the scans whose answers serve the others, with `--learn`.
    """

    scans: int
    each: float
    jobs: int
    memory: int | None
    ahead: float = 0.0

    def __str__(self) -> str:
        total = self.ahead + self.each * -(-self.scans // max(1, self.jobs))
        held = "" if self.memory is None else f", {self.memory / 1e9:.1f} GB"
        of_each = " for each process" if held and self.jobs > 1 else ""
        return (
            f"{counted(self.scans, 'scan')}, {in_words(self.each)} each: {in_words(total)} at "
            f"most, where none is larger than the labelled one{held}{of_each}"
        )


def estimate(
    segmenter: Segmenter,
    support: Support,
    scans: int,
    check: bool,
    jobs: int,
    learns: bool = False,
) -> Estimate:
    """What segmenting some scans will take; a few slices are encoded to find out.

    Args:
        segmenter, support: the network and the labelled scans.
        scans: how many.
        check: whether each result is judged.
        jobs: processes.
        learns: whether several answers for each scan are made and judged.
    """
    predictor, first = segmenter.predictor, support.scans[0]
    sample = first.slices.images[:SAMPLE]
    began = time.perf_counter()
    encode_slices(predictor.method, sample, predictor.precision)
    slice_s = (time.perf_counter() - began) / len(sample)
    labels, slices = len(support.values), len(first.label)
    work = FULL if predictor.second_look else FAST
    answers = 2 + min(MOST, scans - 1) if learns else 1
    factor = work.of(labels, check + (answers if learns else 0), answers)
    ahead = min(scans, FROM) * work.of(labels, 2, 2) if learns else 0.0
    arrays = [*first.slices.features.maps.values(), *[first.slices.images] * (3 + labels)]
    held = sum(min(each.nbytes, LARGE) for each in arrays)
    try:
        memory = memory_cap.peak() + (COPIES + (COPIES_TO_LEARN if learns else 0)) * held
    except ConfigError:
        memory = None
    scan_s = slices * slice_s
    return Estimate(scans, scan_s * factor, jobs, memory, scan_s * ahead)
