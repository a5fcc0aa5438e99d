"""The server of `dpcenet app`: the page, its calls, and how it is started."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from dpcenet.app import export_api, labels_api, review_api, scans_api, work_api
from dpcenet.app.labels_api import Tab
from dpcenet.app.program import (
    SAID,
    ConfigError,
    __version__,
    mendable,
    read_or_set_aside,
    words_of,
    write_json,
)
from dpcenet.app.project import Project, only_server
from dpcenet.app.security import Guard
from dpcenet.app.session import Session

PAGE = Path(__file__).parent / "page"
FIRST_PORT, PORTS = 8765, 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def create_app(session: Session) -> FastAPI:
    """The application without its guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        saver = threading.Thread(target=session.keep_saving, name="saver")
        saver.start()
        yield
        session.stopped.set()
        saver.join()

    app = FastAPI(
        title="dpcenet app",
        version=__version__,
        description="Every call of the page. For research only.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere; ours is at /api
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )

    @app.exception_handler(ConfigError)
    async def refused(_: Request, error: ConfigError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(OSError)
    @app.exception_handler(MemoryError)
    async def no_room(_: Request, error: Exception) -> JSONResponse:
        """No disk or memory is left: in one line, as the command says it."""
        if not (text := mendable(error)):
            raise error
        return JSONResponse({"detail": text}, 507)

    for part in (scans_api, labels_api, work_api, review_api, export_api):
        app.include_router(part.router(session))
    _add_pages(app, session)
    return app


def _add_pages(app: FastAPI, session: Session) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api", include_in_schema=False)
    def calls() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    @app.get("/api/project", tags=["project"])
    def project() -> dict[str, Any]:
        """Which folder, and what the page can show."""
        return {
            "folder": str(session.project.folder),
            "name": session.project.folder.name,
            "root": str(session.project.root),
            "version": __version__,
            "scans": len(session.project.scans),
            "three_d": (PAGE / "vendor" / "niivue.js").is_file(),
        }

    @app.post("/api/tab", tags=["project"])
    def tab(tab: Tab, take: bool = False, leave: bool = False) -> dict[str, bool]:
        """A tab says that it is open; one tab at a time may draw."""
        if leave:
            session.leave(tab)
            return {"mine": False}
        return {"mine": session.tab_of(tab, take) == tab}

    @app.get("/page/texts/{language}.json", include_in_schema=False)
    def texts(language: Literal["en", "zh"]) -> dict[str, str]:
        """What the page says, and the sentences of the program that it shows."""
        own = json.loads((PAGE / "texts" / f"{language}.json").read_text("utf-8"))
        return {**own, **words_of(SAID, language)}

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def token_of(root: Path) -> str:
    """The project's token; the same after a restart, so that an open page goes on."""
    path = root / "token.json"
    if known := read_or_set_aside(path, {"token": str}):
        return str(known["token"])
    token = secrets.token_urlsafe(24)
    write_json(path, {"token": token}, mode=0o600)
    return token


def names_of(host: str) -> list[str]:
    """What may stand in the address of the page, the best one first."""
    if host in LOOPBACK:
        return [host, *LOOPBACK]
    machine = socket.gethostname()
    if host not in ("0.0.0.0", "::"):
        return [host]
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(machine, None)}
    return [machine, *sorted(found), *LOOPBACK]


def free_port(host: str, wanted: int | None) -> int:
    """A port that nobody listens on.

    Raises:
        ConfigError: there is none.
    """
    ports = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the server will: a port that a killed server left behind is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(f"--port {ports[0]}: is taken, or may not be used; name another one")


def serve(folder: Path, root: Path, host: str, port: int | None, opened: Any = None) -> None:
    """Serve until the person ends it.

    Args:
        folder: of scans.
        root: of the project.
        host: address to listen on.
        port: where; None takes a free one.
        opened: called with the page's address when the server is about to listen.

    Raises:
        ConfigError: a folder cannot be used, or another server has the project.
    """
    import uvicorn

    project = Project.open(folder, root)
    with only_server(project.root):
        port = free_port(host, port)
        token = token_of(project.root)
        names = names_of(host)
        hosts = frozenset(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names)
        shown = names[0] if ":" not in names[0] else f"[{names[0]}]"
        address = f"http://{shown}:{port}/?token={token}"
        write_json(project.root / "server.json", {"host": host, "port": port})
        guarded = Guard(create_app(Session(project)), hosts, token)
        if opened is not None:
            opened(address)
        uvicorn.run(guarded, host=host, port=port, log_level="warning", server_header=False)
