"""Every call of the page with made-up input: the server refuses, it never fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dpcenet.app.project import Project
from dpcenet.app.security import Guard
from dpcenet.app.server import create_app
from dpcenet.app.session import Session

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis (extra `dev`)")
HOST, TOKEN = "127.0.0.1:8765", "a-token-that-is-long-enough"
EXAMPLES = int(os.environ.get("DPCENET_FUZZ", "12"))


@pytest.fixture(scope="module")
def calls(phantoms: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description of the calls, of an application with a scan."""
    root = tmp_path_factory.mktemp("fuzz") / "project"
    app = create_app(Session(Project.open(phantoms[0][0].parent, root)))
    guarded = Guard(app, frozenset({HOST}), TOKEN)
    headers = {"Host": HOST, "Authorization": f"Bearer {TOKEN}"}
    return schemathesis.openapi.from_asgi("/api/openapi.json", guarded, headers=headers)


schema = schemathesis.pytest.from_fixture("calls")


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A made-up job must not begin to segment."""
    from dpcenet.app import jobs

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no processes here")

    monkeypatch.setattr(jobs.subprocess, "Popen", refuse)
    yield


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_no_call_fails(case: Any) -> None:
    if case.path_parameters and "scan_id" in case.path_parameters:
        case.path_parameters["scan_id"] = "601cd856d86b"  # else all would end at 404
    answer = case.call(headers={"Host": HOST, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code < 500, answer.text
    assert answer.headers["content-security-policy"]
