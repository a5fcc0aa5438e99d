"""What the buttons start: filling in a scan, segmenting the rest, exporting; and how far it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dpcenet.app.jobs import Job, all_jobs, start
from dpcenet.app.mask_files import state_of
from dpcenet.app.program import (
    ACCEPT_DICE,
    ConfigError,
    read_or_set_aside,
    read_volume,
    record_path,
)
from dpcenet.app.project import Project, Scan

PERSONS = ("labelled", "corrected")
"""States of scans whose masks a person stands for."""
_PROGRAM = [sys.executable, "-m", "dpcenet"]


def fill_in(project: Project, scan: Scan) -> Job:
    """Complete a scan from its own drawn slices: `dpcenet complete`.

    Raises:
        ConfigError: nothing is drawn, or a job is running.
    """
    if not scan.drawing.is_file():
        raise ConfigError(f"{scan.name}: draw on some slices first")
    full = scan.cache / "full.nii.gz"
    full.unlink(missing_ok=True)
    command = [*_PROGRAM, "complete", str(scan.source), str(scan.drawing), "-o", str(full)]
    module = [sys.executable, "-m", "dpcenet.app.take_mask"]
    take = [*module, str(project.root), scan.id, str(full)]
    return start(project.root, "complete", [command, take], scans=[scan.id])


def segment(
    project: Project,
    labelled: list[Scan],
    probability: bool = True,
    accept_dice: float = ACCEPT_DICE,
) -> Job:
    """Segment the folder from labelled scans: `dpcenet segment`.

    Args:
        project: whose folder.
        labelled: scans with masks that a person stands for. Those that a person drew from the
            start are always among them: their masks are no results.
        probability: keep the probabilities, to be shown as heat.
        accept_dice: the Dice that a result must have to be expected good.

    Raises:
        ConfigError: no scan is labelled, or a job is running.
    """
    states = {scan.id: state_of(scan) for scan in project.scans.values()}
    taken = {scan.id for scan in labelled if states[scan.id] in PERSONS}
    taken |= {scan_id for scan_id, state in states.items() if state == "labelled"}
    if not taken:
        raise ConfigError("no scan is labelled yet: label one, fill in, and come back")
    out = str(project.root / "masks")
    command = [*_PROGRAM, "segment", str(project.folder), "--no-links-out", "--out", out]
    command += _given(project, [project.scans[scan_id] for scan_id in sorted(taken)])
    command += ["--probability"] if probability else []
    command += ["--accept-dice", f"{accept_dice:g}"]
    waiting = [scan.id for scan in project.scans.values() if states[scan.id] not in PERSONS]
    job = start(project.root, "segment", [command], scans=waiting, labelled=sorted(taken))
    _keep_masks(project, project.root / "rounds" / job.id)
    return job


def export(project: Project, parts: list[str]) -> Job:
    """Write the parts of an export, and a task file with `dpcenet task create`.

    Raises:
        ConfigError: nothing is wanted, there is no mask yet, or a job is running.
    """
    stood_for = [scan for scan in project.scans.values() if state_of(scan) in PERSONS]
    if not any(scan.mask.is_file() for scan in project.scans.values()):
        raise ConfigError("there is no whole mask yet")
    if not parts:
        raise ConfigError("choose what to export")
    module = [sys.executable, "-m", "dpcenet.app.export"]
    commands = [[*module, str(project.root), *(p for p in parts if p != "task")]]
    if "task" in parts:
        if not stood_for:
            raise ConfigError("a task file is made of labelled scans, and there is none")
        (project.root / "export").mkdir(exist_ok=True)
        task = project.root / "export" / "project.task"
        commands.append([*_PROGRAM, "task", "create", *_given(project, stood_for), "-o", str(task)])
    return start(project.root, "export", commands)


def _given(project: Project, labelled: list[Scan]) -> list[str]:
    """Labelled scans and the names of their labels, as commands take them."""
    flags = []
    for scan in labelled:
        flags += ["--support-image", str(scan.source), "--support-mask", str(scan.mask)]
    present = _values_of(labelled)
    for label in project.labels:
        flags += ["--name", f"{label.value}={label.name}"] if label.value in present else []
    return flags


def _values_of(scans: list[Scan]) -> set[int]:
    """Label values in whole masks."""
    return {int(v) for scan in scans for v in np.unique(read_volume(scan.mask).volume.data)}


def _keep_masks(project: Project, folder: Path) -> None:
    """Links to the masks as they are; a mask that is written anew is another file."""
    for scan in project.scans.values():
        if scan.mask.is_file():
            kept = folder / scan.mask.relative_to(project.root / "masks")
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.link(scan.mask, kept)


def progress(project: Project, job: Job) -> dict[str, Any]:
    """How far a job is, for each scan and as a whole."""
    facts, state = job.facts, job.state
    answer = {
        "id": job.id,
        "kind": facts["kind"],
        "state": state,
        "started": facts["started"],
        "log": job.log,
        "command": facts["commands"][-1],
    }
    if facts["kind"] != "segment":
        return {**answer, "scans": [], "seconds_left": None}
    scans = [project.scans[scan_id] for scan_id in facts["scans"] if scan_id in project.scans]
    running = state in ("running", "paused")
    return {**answer, **_each(scans, job.started.timestamp(), running, _errors(project, running))}


def _each(scans: list[Scan], since: float, running: bool, errors: dict[str, str]) -> dict[str, Any]:
    """Each scan's state: waiting, working, done or failed; and the seconds left.

    Scans are segmented in their order. One that was finished before is passed over without a word,
    so it counts as done when a later one is, or when the command has ended.
    """
    fresh = [_record_since(scan, since) for scan in scans]
    last = max((n for n, record in enumerate(fresh) if record), default=-1)
    passed = last if running else len(scans)
    rows = []
    for number, scan in enumerate(scans):
        state = "done" if fresh[number] or number < passed else "waiting"
        state = "working" if running and number == last + 1 else state
        error = errors.get(scan.name, "")
        rows.append(
            {
                "id": scan.id,
                "name": scan.name,
                "state": "failed" if error else state,
                "error": error,
            }
        )
    seconds = [record["seconds"] for record in fresh if record]
    left = round(sum(seconds) / len(seconds) * (len(scans) - 1 - last)) if seconds else None
    return {"scans": rows, "seconds_left": left if running else None}


def _record_since(scan: Scan, since: float) -> dict[str, Any] | None:
    """What the record of a scan's mask says, if it was written after a time (in s)."""
    path = record_path(scan.mask)
    if not path.is_file() or path.stat().st_mtime < since:
        return None
    facts = (read_or_set_aside(path) or {}).get("facts")
    return facts if isinstance(facts, dict) and "seconds" in facts else None


def _errors(project: Project, running: bool) -> dict[str, str]:
    """What went wrong with scans, once `segment` has ended."""
    path = project.root / "masks" / "segment.json"
    known = None if running else read_or_set_aside(path, {"cases": list})
    rows = known["cases"] if known else []
    return {row["query"]: row["error"] for row in rows if row.get("error")}


def latest(project: Project, kind: str | None = None) -> Job | None:
    """The job that was started last, of one kind or of any."""
    jobs = [job for job in all_jobs(project.root) if kind in (None, job.facts["kind"])]
    return jobs[-1] if jobs else None
