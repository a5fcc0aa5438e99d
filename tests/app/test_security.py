"""Attacks on the server, each refused."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from served import Served, ask, serve
from starlette.testclient import TestClient
from typer.testing import CliRunner

from dpcenet.app import work
from dpcenet.app.drawing import Drawing
from dpcenet.app.project import Label, Project
from dpcenet.app.security import Guard
from dpcenet.app.server import create_app
from dpcenet.app.session import Session
from dpcenet.app.shown_scan import make_ready
from dpcenet.cli import app as command
from dpcenet.errors import ConfigError, VolumeError
from dpcenet.segmentation.queries import find_queries
from dpcenet.volumes.walk_folders import LEADS_OUT

HOST, TOKEN = "127.0.0.1:8765", "a-token-that-is-long-enough"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(scans: Path, tmp_path: Path) -> Iterator[TestClient]:
    """The guarded application, without a socket."""
    project = Project.open(scans, tmp_path / "project")
    guarded = Guard(create_app(Session(project)), frozenset({HOST}), TOKEN, max_body=200_000)
    with TestClient(guarded, base_url=f"http://{HOST}", follow_redirects=False) as made:
        yield made


def first_scan(client: TestClient) -> str:
    return str(client.get("/api/scans", headers=KNOWN).json()["scans"][0]["id"])


def test_without_the_token_nothing_is_told(client: TestClient) -> None:
    for path in ("/", "/api/project", "/api/scans", "/page/js/main.js", "/api/openapi.json"):
        assert client.get(path).status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/api/scans", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_token_leaves_the_address_at_once(client: TestClient) -> None:
    answer = client.get(f"/?token={TOKEN}")
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert client.get("/").status_code == 200  # by the cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1:80", "localhost.evil.example:8765", ""]
)
def test_a_name_bound_to_this_machine_by_others_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/scans", headers={**KNOWN, "Host": host}).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", f"https://{HOST}", f"http://{HOST}.x"],
)
def test_a_foreign_page_is_refused(client: TestClient, origin: str) -> None:
    headers = {**KNOWN, "Origin": origin}
    assert client.get("/api/scans", headers=headers).status_code == 403
    assert client.put("/api/labels", headers=headers, json=[]).status_code == 403


def test_a_request_that_a_browser_marks_as_foreign_is_refused(client: TestClient) -> None:
    for site in ("cross-site", "same-site"):
        answer = client.get("/api/scans", headers={**KNOWN, "Sec-Fetch-Site": site})
        assert answer.status_code == 403


def test_the_policy_forbids_scripts_from_elsewhere_and_in_line(client: TestClient) -> None:
    answers = [client.get("/", headers=KNOWN), client.get("/api/scans"), client.get("/api/none")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = answers[0].text
    assert "<script>" not in page and "style=" not in page and "http" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page/..%2f..%2fserver.py",
        "/page/js/..%5c..%5cserver.py",
        "/page//etc/passwd",
        "/api/scans/..%2f..%2fetc%2fpasswd",
        "/api/scans/%2e%2e/thumbnail.png",
        "/api/export/file?name=../token.json",
        "/api/export/file?name=%2Fetc%2Fpasswd",
        "/api/review/..%2f../picture/x",
        "/api/jobs/..%2f..%2f",
        "/page/vendor/../../server.py",
    ],
)
def test_paths_never_leave_the_folder(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=KNOWN)
    assert answer.status_code in (404, 405), answer.text
    assert "root:" not in answer.text and TOKEN not in answer.text


def test_links_that_lead_out_are_left_out(scans: Path, tmp_path: Path) -> None:
    """Of the page, and of the command that its Segment step runs."""
    folder, secret = tmp_path / "scans", tmp_path / "secret"
    shutil.copytree(scans, folder)
    secret.mkdir()
    shutil.move(folder / "image_02.nii.gz", secret / "image_02.nii.gz")
    (folder / "image_02.nii.gz").symlink_to(secret / "image_02.nii.gz")
    (folder / "more").symlink_to(secret)
    (folder / "everything").symlink_to("/")
    project = Project.open(folder, tmp_path / "project")
    names = [scan.name for scan in project.scans.values()]
    assert names == ["image_01", "image_03", "image_04"]
    assert project.left_out == {LEADS_OUT: ["everything", "image_02.nii.gz", "more"]}
    taken = find_queries([folder], out=project.root / "masks", links_out=False)
    assert [query.name.as_posix() for query in taken] == names
    assert "--no-links-out" in command_of_segment(project)


def command_of_segment(project: Project) -> list[str]:
    """What the Segment step would run; the process is not started."""
    scan = next(iter(project.scans.values()))
    drawing = Drawing.open(scan, make_ready(scan))
    plane = np.ones(drawing.facts.shape[1:], np.uint8)
    drawing.change(0, 0, plane)
    drawing.finish([Label(value=1, name="liver", colour="#00c2ff")])
    with pytest.MonkeyPatch.context() as patch:
        seen: list[list[str]] = []
        patch.setattr(work, "_keep_masks", lambda *_: None)
        patch.setattr(work, "start", lambda *given, **_: seen.extend(given[2]) or Mock(id="1"))
        work.segment(project, [scan])
    return seen[0]


def test_a_scan_that_became_a_link_out_is_not_read(scans: Path, tmp_path: Path) -> None:
    """After the folder was searched: a page may stay open for days."""
    folder = tmp_path / "scans"
    shutil.copytree(scans, folder)
    project = Project.open(folder, tmp_path / "project")
    shutil.move(folder / "image_02.nii.gz", tmp_path / "elsewhere.nii.gz")
    (folder / "image_02.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    scan = next(scan for scan in project.scans.values() if scan.name == "image_02")
    with pytest.raises(VolumeError, match="a link leads out of"):
        make_ready(scan)


def test_large_bodies_are_refused_before_they_are_read(client: TestClient) -> None:
    path = f"/api/scans/{first_scan(client)}/mask?name=x.nii"
    claimed = {**KNOWN, "Content-Length": str(10 * 2**30)}
    assert client.put(path, headers=claimed, content=b"x").status_code == 413
    assert client.put(path, headers={**KNOWN, "Content-Length": "-1"}).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(10_000)

    assert client.put(path, headers=KNOWN, content=endless()).status_code == 413


def test_ten_gigabytes_end_at_the_bound(running: Served) -> None:
    """Over a socket: the server stops reading, and keeps nothing."""
    served = running
    scan = ask(served, "/api/scans")["scans"][0]["id"]
    host, port = served.base.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("PUT", f"/api/scans/{scan}/mask?name=x.nii")
    connection.putheader("Authorization", f"Bearer {served.token}")
    connection.putheader("Content-Length", str(10 * 2**30))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    kept = sum(path.stat().st_size for path in served.root.rglob("*") if path.is_file())
    assert kept < 10_000_000
    assert ask(served, "/api/scans")["scans"]


def test_a_mask_that_claims_to_be_huge_is_refused(client: TestClient) -> None:
    import gzip

    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "little")
    for n, side in enumerate((3, 30000, 30000, 30000)):
        header[40 + 2 * n : 42 + 2 * n] = side.to_bytes(2, "little")
    header[70:72], header[72:74] = (2).to_bytes(2, "little"), (8).to_bytes(2, "little")
    header[344:348] = b"n+1\0"
    path = f"/api/scans/{first_scan(client)}/mask?name=x.nii.gz"
    bomb = gzip.compress(bytes(header) + bytes(10_000_000))
    answer = client.put(path, headers=KNOWN, content=bomb)
    assert answer.status_code == 422, answer.text


def test_a_script_in_a_name_is_text(client: TestClient) -> None:
    """It is kept as text; that the page shows it as text, test_whole_page has."""
    label = {"value": 1, "name": "<img src=x onerror=alert(1)>", "colour": "#00c2ff"}
    assert client.put("/api/labels", headers=KNOWN, json=[label]).status_code == 200
    answer = client.get("/api/labels", headers=KNOWN)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["labels"][0]["name"] == label["name"]
    for wrong in ({"colour": "red;}"}, {"name": "a\nb"}, {"value": 0}, {"value": 256}, {"x": 1}):
        assert (
            client.put("/api/labels", headers=KNOWN, json=[{**label, **wrong}]).status_code == 422
        )


def test_only_one_tab_may_draw(client: TestClient) -> None:
    def call(tab: str, take: str = "false") -> bool:
        answer = client.post(f"/api/tab?take={take}", headers={**KNOWN, "X-Tab": tab})
        return bool(answer.json()["mine"])

    assert call("one") and not call("two") and call("one")
    path = f"/api/scans/{first_scan(client)}/undo"
    assert client.post(path, headers={**KNOWN, "X-Tab": "two"}).status_code == 409
    assert call("two", "true") and not call("one")
    assert client.post(path, headers={**KNOWN, "X-Tab": "two"}).status_code == 204
    client.post("/api/tab?leave=true", headers={**KNOWN, "X-Tab": "two"})
    assert call("one")


def test_a_second_server_on_the_project_is_told_so(running: Served) -> None:
    with pytest.raises(AssertionError, match="another `dpcenet app` has it open"):
        serve(running.folder, running.root)


def test_the_server_listens_on_this_machine_only(running: Served) -> None:
    others = {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    for address in others - {"127.0.0.1", "127.0.1.1", "::1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, running.port), timeout=2)


def test_other_hosts_need_a_second_word(scans: Path) -> None:
    done = CliRunner().invoke(command, ["app", str(scans), "--host", "0.0.0.0"])
    assert isinstance(done.exception, ConfigError) and "--allow-remote" in str(done.exception)


def test_the_token_is_for_its_owner(running: Served) -> None:
    path = running.root / "token.json"
    assert path.stat().st_mode & 0o077 == 0
    known: dict[str, Any] = json.loads(path.read_text())
    assert known["token"] == running.token and len(running.token) >= 32
