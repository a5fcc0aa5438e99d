"""The masks of a folder of results that may be used further, and the scans that they belong to.

A mask counts that the review expects to be good, that a person corrected, or that a person accepted
in `dpcenet app`; one that a person rejected never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpcenet.errors import DatasetError
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, read_cases
from dpcenet.system.files import read_json
from dpcenet.volumes import mask_record
from dpcenet.volumes.options import AS_IT_IS, ReadOptions

DECISIONS = "decisions.json"


@dataclass(frozen=True)
class AcceptedMask:
    """A mask to be used further.

    Attributes:
        name: of its scan, as the results have it.
        query: the scan.
        mask: the file.
        names: label value → name.
        modality: "ct" or "mr".
    """

    name: str
    query: Query
    mask: Path
    names: dict[int, str]
    modality: str


@dataclass(frozen=True)
class Accepted:
    """The masks to be used further, and why each of the others is not: name → reason."""

    masks: tuple[AcceptedMask, ...]
    left_out: dict[str, str]


def accepted_masks(folder: Path, also_look: bool = False) -> Accepted:
    """The accepted masks of a folder that `dpcenet segment` wrote.

    Args:
        folder: of the results; of a project of `dpcenet app` its folder masks/.
        also_look: those that the review wants looked at count as accepted, too.

    Raises:
        DatasetError: there is no mask of `dpcenet segment`.
    """
    reviewed = {case.mask: case for case in read_cases(folder)}
    decisions = _decisions(folder)
    masks, left_out = [], dict[str, str]()
    for mask in _masks_in(folder):
        record = mask_record.read_record(mask)
        place = mask.relative_to(folder).as_posix()
        case = reviewed.get(place)
        name = case.case if case else place
        reason = _why_not(mask, case, decisions.get(name, ""), also_look)
        scan = reason or _scan_of(record, mask)
        if isinstance(scan, str):
            left_out[name] = scan
            continue
        inputs = record["inputs"]
        names = {int(v): text or f"label {v}" for v, text in inputs["labels"].items()}
        modality = str(inputs["preprocessing"]["modality"])
        masks.append(AcceptedMask(name, scan, mask, names, modality))
    if not masks and not left_out:
        raise DatasetError(f"{folder}: no mask of `dpcenet segment`; name its --out folder")
    return Accepted(tuple(masks), left_out)


def _masks_in(folder: Path) -> Iterator[Path]:
    """Files that have the record of a finished mask beside them."""
    for path in sorted(folder.rglob("*.json")):
        mask = path.with_name(path.name.removesuffix(".json"))
        if mask.is_file() and "facts" in mask_record.read_record(mask):
            yield mask


def _decisions(folder: Path) -> dict[str, str]:
    """Case → what a person decided in `dpcenet app`, whose project holds the folder."""
    path = folder.parent / DECISIONS
    cases: dict[str, Any] = read_json(path)["cases"] if path.is_file() else {}
    return {name: str(decision["decision"]) for name, decision in cases.items()}


def _why_not(mask: Path, case: ReviewedCase | None, decision: str, also_look: bool) -> str:
    """Why a mask is not accepted; empty where it is."""
    if decision == "reject":
        return "a person rejected it"
    if decision == "accept" or mask_record.is_corrected(mask):
        return ""
    if case is None:
        return "it was not reviewed; segment without --no-check, or correct it"
    wanted = {"accept", "look"} if also_look else {"accept"}
    doubtful = {label: q.flag for label, q in case.labels.items() if q.flag not in wanted}
    return ", ".join(f"{label}: {flag}" for label, flag in doubtful.items())


def _scan_of(record: dict[str, Any], mask: Path) -> Query | str:
    """The scan from which a mask was made, or why it cannot be had."""
    facts, digest = record["facts"], record["inputs"]["query"]
    if "scan" not in facts:
        return "its record does not name the scan; segment it again with this version"
    path = Path(facts["scan"])
    read = facts.get("read", {})
    if read.get("spacing"):
        read = {**read, "spacing": tuple(read["spacing"])}
    options = ReadOptions(**read) if read else AS_IT_IS
    if not path.exists():
        return f"{path}: the scan is not there any more"
    for split in (False, True):
        for query in find_queries([path], out=mask.parent, options=options, split=split):
            if query.digest() == digest:
                return query
    return f"{path}: the scan has changed since"
