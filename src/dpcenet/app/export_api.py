"""What was exported: the files, one by one or packed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, StreamingResponse

from dpcenet.app.session import Session


def router(session: Session) -> APIRouter:
    """Calls under /api/export; an export itself is a job."""
    api = APIRouter(prefix="/api/export", tags=["export"])
    root = session.project.root / "export"

    def files() -> dict[str, int]:
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        names = {path.relative_to(root).as_posix(): path for path in found}
        return {name: p.stat().st_size for name, p in names.items() if not name.startswith(".")}

    @api.get("")
    def list_files() -> dict[str, Any]:
        """Names and sizes."""
        return {"folder": str(root), "files": files()}

    @api.get("/all.zip", response_class=StreamingResponse)
    def packed() -> StreamingResponse:
        """All of it in one file, packed while it is sent."""
        return StreamingResponse(_zip(session, list(files())), media_type="application/zip")

    @api.get("/file", response_class=FileResponse)
    def one(name: str) -> FileResponse:
        """One of the listed files."""
        if name not in files():
            raise HTTPException(404, "no such file")
        return FileResponse(root / name, filename=name.rpartition("/")[2])

    return api


class _Pipe(io.RawIOBase):
    """Takes what a zip file writes, until it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self.waiting = b"".join(self.waiting), []
        return data


def _zip(session: Session, names: list[str]) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as packed:
        for name in names:
            packed.write(session.project.root / "export" / name, name)
            yield pipe.taken()
    yield pipe.taken()
