"""Jobs: start, follow, pause, cancel."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from dpcenet.app import work
from dpcenet.app.jobs import CAN_PAUSE, Job, all_jobs
from dpcenet.app.labels_api import Tab, refused
from dpcenet.app.program import ACCEPT_DICE
from dpcenet.app.session import Session

Kind = Literal["complete", "segment", "export"]
Part = Literal["masks", "seg-nrrd", "dicom-seg", "table", "pictures", "nnunet", "task"]


class Wanted(BaseModel):
    """A job to start."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    scans: list[str] = Field(default=[], max_length=10_000)
    """complete: the one scan. segment: labelled scans beyond those drawn by hand."""
    accept_dice: float = Field(default=ACCEPT_DICE, ge=0.5, le=1.0)
    """segment: the Dice that a result must have to be expected good."""
    what: list[Part] = Field(default=[], max_length=20)
    """export: which parts."""


def router(session: Session) -> APIRouter:
    """Calls under /api/jobs."""
    api = APIRouter(prefix="/api/jobs", tags=["jobs"])

    def job_of(job_id: str) -> Job:
        for job in all_jobs(session.project.root):
            if job.id == job_id:
                return job
        raise HTTPException(404, "no such job")

    @api.get("")
    def list_jobs() -> list[dict[str, Any]]:
        """All jobs of the project, in short."""
        return [
            {"id": j.id, "kind": j.facts["kind"], "state": j.state}
            for j in all_jobs(session.project.root)
        ]

    @api.post("")
    def start(wanted: Wanted, tab: Tab = "") -> dict[str, Any]:
        """Start one; what was drawn is saved before."""
        session.check_tab(tab)
        session.save_all()
        scans = [session.scan(scan_id) for scan_id in wanted.scans]
        project = session.project
        with refused(), project.lock:  # one job at a time
            if wanted.kind == "complete":
                if len(scans) != 1:
                    raise HTTPException(422, "name one scan")
                job = work.fill_in(project, scans[0])
            elif wanted.kind == "segment":
                job = work.segment(project, scans, accept_dice=wanted.accept_dice)
            else:
                job = work.export(project, list(wanted.what))
        return work.progress(project, job)

    @api.get("/latest")
    def latest(kind: Kind | None = None) -> dict[str, Any]:
        """The one that was started last, of one kind or of any; {} where there is none."""
        job = work.latest(session.project, kind)
        if job is None:
            return {}
        return {**work.progress(session.project, job), "can_pause": CAN_PAUSE}

    @api.get("/{job_id}")
    def show(job_id: str) -> dict[str, Any]:
        """How far it is."""
        return work.progress(session.project, job_of(job_id))

    @api.post("/{job_id}/{action}")
    def act(
        job_id: str, action: Literal["pause", "resume", "cancel"], tab: Tab = ""
    ) -> dict[str, Any]:
        """Pause, go on, or end."""
        session.check_tab(tab)
        job = job_of(job_id)
        with refused():
            if action == "cancel":
                job.cancel()
            else:
                job.pause(action == "pause")
        return work.progress(session.project, job)

    return api
