"""A server whose disk or memory is full answers in one line, and goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from full_disk import full_disk

pytest.importorskip("fastapi", reason="the page needs the extra `app`")

from starlette.testclient import TestClient

from dpcenet.app.export import export
from dpcenet.app.jobs import start
from dpcenet.app.project import Label, Project, now
from dpcenet.app.server import create_app, token_of
from dpcenet.app.session import Session


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.nii.gz"), 507, "a.nii.gz: no space"),
        (MemoryError(), 507, "not enough memory"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "b.json"), 507, "choose another folder"),
        (OSError(errno.ENOENT, "x"), 500, ""),
    ],
)
def test_no_room_is_said_in_one_line(
    tmp_path: Path, error: Exception, status: int, words: str
) -> None:
    (tmp_path / "scans").mkdir()
    app = create_app(Session(Project(tmp_path / "scans", tmp_path / "project")))

    @app.get("/api/fails")
    def fails() -> None:
        raise error

    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/api/fails")
    assert answer.status_code == status
    if words:
        assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert client.get("/api/project").json()["name"] == "scans"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it runs on
def test_a_job_that_cannot_be_recorded_is_none(tmp_path: Path) -> None:
    """Neither its folder nor its process stays; the next one is begun as if nothing had been."""
    sleep = [[sys.executable, "-c", "import time; time.sleep(60)"]]
    plan = json.dumps({"kind": "test", "commands": sleep, "started": now()}, indent=2)
    for limit, name in ((0, "plan"), (len(plan) + 9, "job")):
        with full_disk(limit), pytest.raises(OSError, match=rf"{name}\.json"):
            start(tmp_path, "test", sleep)
        assert not list((tmp_path / "jobs").iterdir())
    (tmp_path / "jobs" / "0004").mkdir()  # left behind by a process that was killed
    job = start(tmp_path, "test", sleep)
    assert job.id == "0005" and job.state == "running"
    with full_disk(0), pytest.raises(OSError, match=r"job\.json"):
        job.cancel()
    for _ in range(100):
        if job.state == "lost":
            break
        time.sleep(0.1)
    assert job.state == "lost", "a job can be ended on a full disk, which it may have filled"


def test_a_token_is_whole_or_absent(tmp_path: Path) -> None:
    with full_disk(10), pytest.raises(OSError, match=r"token\.json"):
        token_of(tmp_path)
    assert not list(tmp_path.iterdir())
    assert token_of(tmp_path) == token_of(tmp_path)


def test_an_export_that_finds_no_room_leaves_the_last_one(
    scans: Path, phantoms: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    project = Project.open(scans, tmp_path / "project")
    project.set_labels([Label(value=1, name="liver", colour="#00c2ff")])
    for scan, (_, label) in zip(project.scans.values(), phantoms, strict=True):
        scan.mask.parent.mkdir(exist_ok=True)
        shutil.copy(label, scan.mask)
    out = export(project, ["masks", "nnunet"])
    known = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    shutil.rmtree(project.root / "cache")
    for limit in (0, 400, 5_000):
        with full_disk(limit), pytest.raises(OSError, match="No space left"):
            export(project, ["masks", "nnunet"])
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == known
