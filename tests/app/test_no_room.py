"""A server whose disk or memory is full answers in one line, and goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the page needs the extra `app`")

from starlette.testclient import TestClient

from dpcenet.app.project import Project
from dpcenet.app.server import create_app
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
