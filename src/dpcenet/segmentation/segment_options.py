"""How queries are segmented, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpcenet.segmentation.outputs import OutputOptions
from dpcenet.segmentation.postprocess import Consistency
from dpcenet.segmentation.review.quality import ACCEPT_DICE


@dataclass(frozen=True)
class SegmentOptions:
    """How queries are segmented.

    Attributes:
        out: folder of the results.
        outputs: what is written beside the masks.
        consistency: rules across slices, applied to each result.
        check: predict the quality of each result, for the review.
        accept_dice: the Dice that a mask must have to be accepted in the review.
        overwrite: segment again what is finished, corrected masks too.
        keep: files that are never overwritten: the masks of the labelled scans.
        copies: segment a scan, too, that a search found and that is a copy of a labelled one.
        memory: bytes that this process may hold; None sets no limit.
        learn: minutes, at most, in which the network first learns from the labelled scans; None
            leaves it as it is.
    """

    out: Path
    outputs: OutputOptions = field(default_factory=OutputOptions)
    consistency: Consistency = field(default_factory=Consistency)
    check: bool = False
    accept_dice: float = ACCEPT_DICE
    overwrite: bool = False
    keep: frozenset[Path] = frozenset()
    copies: bool = True
    memory: int | None = None
    learn: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one query: a mask, or an error.

    Attributes:
        query: its name.
        mask: path of its mask; None where there is none.
        error: why there is none.
        facts: about the mask, as its record has them.
        skipped: it was finished before.
        corrected: a person changed the mask, so it was kept.
        final: nothing more can be written, so this is the last one.
        aside: it was found by a search, and is no scan to segment: a mask, or a labelled scan.
    """

    query: Path
    mask: Path | None
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    corrected: bool = False
    final: bool = False
    aside: bool = False
