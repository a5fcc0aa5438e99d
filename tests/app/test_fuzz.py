"""Every call of the page with made-up input: the server refuses, it never fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from dpcenet.app.project import Project
from dpcenet.app.security import Guard
from dpcenet.app.server import create_app
from dpcenet.app.session import Session

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis (extra `dev`)")
HOST, TOKEN = "127.0.0.1:8765", "a-token-that-is-long-enough"
SCAN = "601cd856d86b"  # image_01
EXAMPLES = int(os.environ.get("DPCENET_FUZZ", "12"))


@pytest.fixture(scope="module")
def calls(phantoms: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description of the calls, of an application with a scan."""
    root = tmp_path_factory.mktemp("fuzz") / "project"
    app = create_app(Session(Project.open(phantoms[0][0].parent, root)))
    guarded = Guard(app, frozenset({HOST}), TOKEN)
    headers = {"Host": HOST, "Authorization": f"Bearer {TOKEN}"}
    return schemathesis.openapi.from_asgi("/api/openapi.json", guarded, headers=headers)


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A made-up job must not begin to segment."""
    from dpcenet.app import jobs

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no processes here")

    monkeypatch.setattr(jobs.subprocess, "Popen", refuse)
    yield


def test_no_call_fails(calls: Any) -> None:
    """The description itself makes the input; by hand, for its pytest plugin is behind pytest."""
    headers = {"Host": HOST, "Authorization": f"Bearer {TOKEN}"}
    asked = set()

    def ask(case: Any) -> None:
        if case.path_parameters and "scan_id" in case.path_parameters:
            case.path_parameters["scan_id"] = SCAN  # else all would end at 404
        answer = case.call(headers={**(case.headers or {}), **headers})
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        assert answer.headers["content-security-policy"]
        asked.add((case.operation.label, answer.status_code))

    for found in calls.get_all_operations():
        rules = settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        rules(given(found.ok().as_strategy())(ask))()
    assert len({label for label, _ in asked}) > 20
    assert {status for _, status in asked} >= {200, 404, 422}
