"""The masks of a folder of results that may be used further, and the scans that they belong to.

A mask counts that the review expects to be good, that a person corrected, or that a person accepted
in `dpcenet app`; one that a person rejected never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpcenet.errors import DatasetError, InputError
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, read_cases
from dpcenet.system.files import read_json
from dpcenet.volumes import mask_record
from dpcenet.volumes.scan_file import ReadOptions

DECISIONS = "decisions.json"


@dataclass(frozen=True)
class FoundMask:
    """A finished mask in a folder of results.

    Attributes:
        name: of its scan, as the results have it.
        mask: the file.
        record: what is recorded of it.
        review: what the review says of it; None where it was not reviewed.
    """

    name: str
    mask: Path
    record: dict[str, Any]
    review: ReviewedCase | None

    @property
    def names(self) -> dict[int, str]:
        """Label value → name."""
        labels = self.record["inputs"]["labels"]
        return {int(value): name or f"label {value}" for value, name in labels.items()}

    @property
    def modality(self) -> str:
        """Of its scan, "ct" or "mr"."""
        return str(self.record["inputs"]["preprocessing"]["modality"])

    def scan(self) -> Query:
        """The scan from which the mask was made.

        Raises:
            DatasetError: it is not to be had, or was changed since.
        """
        facts = self.record["facts"]
        if "scan" not in facts:
            raise DatasetError("its record does not name the scan; segment with this version")
        path, read = Path(facts["scan"]), facts.get("read", {})
        if read.get("spacing"):
            read = {**read, "spacing": tuple(read["spacing"])}
        if not path.exists():
            raise DatasetError(f"{path}: the scan is not there any more")
        for split in (False, True):
            options = ReadOptions(**read)
            for query in find_queries([path], out=self.mask.parent, options=options, split=split):
                if query.digest() == self.record["inputs"]["query"]:
                    return query
        raise DatasetError(f"{path}: the scan has changed since")


@dataclass(frozen=True)
class Accepted:
    """The masks to be used further with their scans, and why others are not: name → reason."""

    masks: tuple[tuple[FoundMask, Query], ...]
    left_out: dict[str, str]


def masks_in(folder: Path) -> list[FoundMask]:
    """The finished masks of a folder that `dpcenet segment` wrote.

    Raises:
        DatasetError: there is none.
    """
    reviewed = {case.mask: case for case in read_cases(folder)}
    found = []
    for path in sorted(folder.rglob("*.json")):
        mask = path.with_name(path.name.removesuffix(".json"))
        record = mask_record.read_record(mask) if mask.is_file() else {}
        if "facts" in record:
            place = mask.relative_to(folder).as_posix()
            case = reviewed.get(place)
            found.append(FoundMask(case.case if case else place, mask, record, case))
    if not found:
        raise DatasetError(f"{folder}: no mask of `dpcenet segment`; name its --out folder")
    return found


def accepted_masks(folder: Path, also_look: bool = False) -> Accepted:
    """The accepted masks of a folder of results.

    Args:
        folder: of the results; of a project of `dpcenet app` its folder masks/.
        also_look: those that the review wants looked at count as accepted, too.

    Raises:
        DatasetError: there is no mask of `dpcenet segment`.
    """
    decisions = decisions_in(folder.parent)
    masks, left_out = [], dict[str, str]()
    for found in masks_in(folder):
        reason = _why_not(found, str(decisions.get(found.name, {}).get("decision", "")), also_look)
        if not reason:
            try:
                masks.append((found, found.scan()))
                continue
            except (InputError, OSError) as error:
                reason = str(error)
        left_out[found.name] = reason
    return Accepted(tuple(masks), left_out)


def decisions_in(project: Path) -> dict[str, dict[str, Any]]:
    """Case → what a person decided in `dpcenet app`, and when; `project` is the app's folder."""
    path = project / DECISIONS
    cases: dict[str, Any] = read_json(path, {"cases": dict})["cases"] if path.is_file() else {}
    return cases


def _why_not(found: FoundMask, decision: str, also_look: bool) -> str:
    """Why a mask is not accepted; empty where it is."""
    if decision == "reject":
        return "a person rejected it"
    if decision == "accept" or mask_record.is_corrected(found.mask):
        return ""
    if found.review is None:
        return "it was not reviewed; segment without --no-check, or correct it"
    wanted = {"accept", "look"} if also_look else {"accept"}
    flags = {label: quality.flag for label, quality in found.review.labels.items()}
    return ", ".join(f"{label}: {flag}" for label, flag in flags.items() if flag not in wanted)
