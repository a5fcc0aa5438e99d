"""The review: what the network expects of its results, what a person decided, and what changed."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, ConfigDict

from dpcenet.app.beside import labelled_named, shown_matches
from dpcenet.app.jobs import all_jobs
from dpcenet.app.labels_api import Tab, refused
from dpcenet.app.mask_files import read_labels, state_of
from dpcenet.app.program import (
    DECISIONS,
    InputError,
    ReviewedCase,
    decisions_in,
    dice,
    read_cases,
    read_or_set_aside,
    write_json,
)
from dpcenet.app.project import Project, Scan, now
from dpcenet.app.session import Session
from dpcenet.app.shown_scan import make_ready


class Decision(BaseModel):
    """What a person says of a result."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["accept", "reject", ""]


def router(session: Session) -> APIRouter:
    """Calls under /api/review."""
    api = APIRouter(prefix="/api/review", tags=["review"])

    @api.get("")
    def review() -> dict[str, Any]:
        """Results, the most doubtful one first, then scans that a person labelled."""
        project = session.project
        with refused():
            known = {row.case: row for row in read_cases(project.root / "masks")}
        decisions, changed = decisions_in(project.root), changes_of(project)
        rows = [
            _row(scan, known.get(scan.name), decisions.get(scan.name, {}), changed.get(scan.name))
            for scan in project.scans.values()
            if scan.mask.is_file()
        ]
        return {"rows": sorted(rows, key=lambda row: (row["worst"], row["name"]))}

    @api.get("/{scan_id}/matches")
    def matches(scan_id: str) -> dict[str, Any]:
        """For each slice of a result, the labelled slices that the network used for it."""
        scan = session.scan(scan_id)
        with refused():
            rows = [r for r in read_cases(session.project.root / "masks") if r.case == scan.name]
        if not rows or rows[0].matches is None:
            return {"scans": []}
        others = list(session.project.scans.values())
        found = {}
        for each in rows[0].matches.scans:
            other = labelled_named(others, each.scan)
            with suppress(HTTPException):  # one that cannot be read any more is not shown either
                if other is not None:
                    found[each.scan] = (other.id, session.facts(other))
        facts = {name: of_scan for name, (_, of_scan) in found.items()}
        shown = shown_matches(rows[0], session.facts(scan), facts)
        return {"scans": [{**each, "id": found[each["scan"]][0]} for each in shown]}

    @api.put("/{scan_id}")
    def decide(scan_id: str, decision: Decision, tab: Tab = "") -> dict[str, Any]:
        """Accept or reject a result, or take that back."""
        session.check_tab(tab)
        scan = session.scan(scan_id)
        if not scan.mask.is_file():
            raise HTTPException(422, f"{scan.name}: there is no result yet")
        return decide_on(session.project, scan, decision.decision)

    @api.get("/{scan_id}/picture/{label}", response_class=Response)
    def picture(scan_id: str, label: str) -> Response:
        """The slice with the largest part of a label, as JPEG."""
        name = session.scan(scan_id).name
        with refused():
            rows = [r for r in read_cases(session.project.root / "masks") if r.case == name]
        if not rows or label not in rows[0].pictures:
            raise HTTPException(404, "no picture")
        encoded = rows[0].pictures[label].partition(",")[2]
        return Response(base64.b64decode(encoded), media_type="image/jpeg")

    return api


def decide_on(project: Project, scan: Scan, decision: str) -> dict[str, Any]:
    """Keep a decision with its time; earlier ones stay in its history."""
    with project.lock:
        cases = decisions_in(project.root)
        history = cases.get(scan.name, {}).get("history", [])
        entry = {"decision": decision, "time": now()}
        cases[scan.name] = {**entry, "history": [*history, entry]}
        project.change(DECISIONS, {"cases": cases})
    return cases[scan.name]


def _row(
    scan: Scan, known: ReviewedCase | None, decision: dict[str, Any], changed: Any
) -> dict[str, Any]:
    state = state_of(scan)
    labels: list[dict[str, Any]] = (
        []
        if known is None or state == "labelled"
        else [
            {
                "label": label,
                "dice": round(quality.dice, 3),
                "low": round(quality.low, 3),
                "high": round(quality.high, 3),
                "flag": quality.flag,
                "accept_dice": quality.accept_dice,
                "reasons": list(quality.reasons),
                "picture": label in known.pictures,
            }
            for label, quality in known.labels.items()
        ]
    )
    return {
        "id": scan.id,
        "name": scan.name,
        "state": state,
        "labels": sorted(labels, key=lambda each: each["dice"]),
        # What a person drew or corrected comes last: the network expected it of another mask.
        "worst": min((each["dice"] for each in labels), default=2.0)
        if state == "segmented"
        else 2.0,
        "decision": decision.get("decision", ""),
        "decided": decision.get("time", ""),
        "changed": changed,
        "written": scan.mask.stat().st_mtime_ns,
    }


def changes_of(project: Project) -> dict[str, dict[str, dict[str, float]]]:
    """Case → label value → what the last round changed; nothing in the first one.

    `dice` is of the mask before and after, `before_ml` and `after_ml` are their volumes.

    Computed once, when the round has ended.
    """
    rounds = [job for job in all_jobs(project.root) if job.facts["kind"] == "segment"]
    if not rounds or rounds[-1].state in ("running", "paused"):
        return {}
    before = project.root / "rounds" / rounds[-1].id
    path = before / "changed.json"
    if (known := read_or_set_aside(path)) is None:
        pairs = [
            (scan, before / scan.mask.relative_to(project.root / "masks"))
            for scan in project.scans.values()
            if scan.mask.is_file()
        ]
        found = {scan.name: _changed(scan, kept) for scan, kept in pairs if kept.is_file()}
        write_json(path, found)
        return found
    return known


def _changed(scan: Scan, before: Path) -> dict[str, dict[str, float]]:
    """Label value → what changed in a mask; nothing where it is the same file, or unreadable."""
    if before.samefile(scan.mask):
        return {}
    try:
        facts = make_ready(scan)
        old, new = (read_labels(path, facts) for path in (before, scan.mask))
    except InputError:
        return {}  # what is wrong with it, the page says where the scan is opened
    values = {int(v) for v in np.union1d(np.unique(old), np.unique(new))} - {0}
    voxel_ml = float(np.prod(facts.spacing)) / 1000
    return {
        str(value): {
            "dice": round(dice(old == value, new == value), 3),
            "before_ml": round(int((old == value).sum()) * voxel_ml, 3),
            "after_ml": round(int((new == value).sum()) * voxel_ml, 3),
        }
        for value in sorted(values)
    }
