"""Labels: names and colours, what is drawn on a scan, undo, and masks that come from a file."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Header, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dpcenet.app.drawing import Change, Drawing
from dpcenet.app.mask_files import put_aside, read_named, state_of
from dpcenet.app.program import InputError, VolumeError, property_of, start_names, suffix_of
from dpcenet.app.project import COLOURS, Label
from dpcenet.app.session import Session

Tab = Annotated[str, Header(alias="X-Tab", max_length=64)]


def router(session: Session) -> APIRouter:
    """Calls that change labels."""
    api = APIRouter(prefix="/api", tags=["labels"])

    @api.get("/labels")
    def labels() -> dict[str, Any]:
        """Names, colours and SNOMED CT codes, and names to start from."""
        rows = [_coded(label) for label in session.project.labels]
        start = {language: start_names(language) for language in ("en", "zh")}
        return {"labels": rows, "start": start, "colours": COLOURS}

    @api.put("/labels")
    def set_labels(labels: list[Label]) -> dict[str, Any]:
        """Replace the list."""
        with refused():
            session.project.set_labels(labels)
        return {"labels": [_coded(label) for label in session.project.labels]}

    @api.put("/scans/{scan_id}/labels/{axis}/{index}")
    def put_plane(
        scan_id: str,
        axis: int,
        index: int,
        plane: Annotated[bytes, Body(media_type="application/octet-stream")],
        tab: Tab = "",
        stroke: Annotated[str, Header(alias="X-Stroke", max_length=64)] = "",
    ) -> dict[str, Any]:
        """Replace one plane of labels: its bytes, row after row."""
        session.check_tab(tab)
        drawing = session.drawing(scan_id)
        shape = drawing.facts.shape
        if not (0 <= axis < 3 and 0 <= index < shape[axis]):
            raise HTTPException(404, "no such plane")
        sides = [side for number, side in enumerate(shape) if number != axis]
        if len(plane) != sides[0] * sides[1]:
            raise HTTPException(422, f"the plane has {sides[0]} x {sides[1]} bytes")
        drawing.change(axis, index, np.frombuffer(plane, np.uint8).reshape(sides), stroke)
        return _state(drawing)

    @api.post("/scans/{scan_id}/undo", response_class=Response)
    def undo(scan_id: str, tab: Tab = "") -> Response:
        """Take the last change back: the plane as it was; 204 where there is none."""
        session.check_tab(tab)
        drawing = session.drawing(scan_id)
        return _answer(drawing, drawing.undo())

    @api.post("/scans/{scan_id}/redo", response_class=Response)
    def redo(scan_id: str, tab: Tab = "") -> Response:
        """Do it again; 204 where there is nothing."""
        session.check_tab(tab)
        drawing = session.drawing(scan_id)
        return _answer(drawing, drawing.redo())

    @api.post("/scans/{scan_id}/save")
    def save(scan_id: str, tab: Tab = "") -> dict[str, Any]:
        """Write what was drawn at once where commands find it, and say what there is then."""
        session.check_tab(tab)
        drawing = session.drawing(scan_id)
        with refused():
            drawing.save(session.project.labels)
        return {**_state(drawing), "state": state_of(drawing.scan)}

    @api.post("/scans/{scan_id}/finish")
    def finish(scan_id: str, tab: Tab = "") -> dict[str, Any]:
        """Take the labels as they are as the whole mask of the scan."""
        session.check_tab(tab)
        drawing = session.drawing(scan_id)
        with refused():
            drawing.finish(session.project.labels)
        return _state(drawing)

    @api.delete("/scans/{scan_id}/labels")
    def discard(scan_id: str, tab: Tab = "") -> dict[str, Any]:
        """Put the mask and the drawing of a scan aside, into removed/ of the project."""
        session.check_tab(tab)
        scan = session.scan(scan_id)
        with session.project.lock, refused():
            known = session.drawings.pop(scan_id, None)
            with contextlib.nullcontext() if known is None else known.saving:
                if known is not None:
                    known.state["unsaved"] = False  # or it would be written again
                put_aside(scan, session.project.root / "removed")
        return _state(session.drawing(scan_id))

    @api.put("/scans/{scan_id}/mask")
    async def put_mask(scan_id: str, name: str, request: Request, tab: Tab = "") -> dict[str, Any]:
        """Take a mask from a file: its bytes; `name` only tells the format."""
        session.check_tab(tab)
        suffix = suffix_of(Path(name))
        if not suffix and not name.lower().endswith(".dcm"):
            raise HTTPException(422, "a mask is .nii.gz, .nii, .nrrd, .mha or a DICOM SEG (.dcm)")
        with tempfile.TemporaryDirectory(dir=session.project.root) as folder:
            path = Path(folder) / f"mask{suffix or '.dcm'}"
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            return await run_in_threadpool(_take_mask, session, scan_id, path, name)

    return api


def _take_mask(session: Session, scan_id: str, path: Path, name: str) -> dict[str, Any]:
    """Make a file's labels the whole mask of a scan; `name` is what the person calls the file."""
    drawing = session.drawing(scan_id)
    with refused():
        try:
            found = read_named(path, drawing.facts).by_name(session.project.labels, path)
        except VolumeError as error:  # it lies in a temporary folder, which tells nobody anything
            called = Path(name).name or "the mask"
            raise VolumeError(called, error.found, error.expected, error.remedy) from error
        present = [int(v) for v in np.unique(found.shown) if v]
        session.project.add_labels({v: found.names.get(v, "") for v in present})
        drawn = np.flatnonzero(found.shown.any(axis=(1, 2))).tolist()
        drawing.replace(found.shown, drawn)
        drawing.finish(session.project.labels, "file")
    return {**_state(drawing), "notes": list(found.notes)}


@contextlib.contextmanager
def refused() -> Any:
    """What a person gave and cannot be used is answered with 422 and the reason."""
    try:
        yield
    except (InputError, OSError) as error:
        raise HTTPException(422, str(error)) from error


def _answer(drawing: Drawing, change: Change | None) -> Response:
    """A plane, with its place in the headers."""
    if change is None:
        return Response(status_code=204)
    place = {"X-Axis": str(change.axis), "X-Index": str(change.index)}
    headers = {**place, "X-Drawn": ",".join(map(str, drawing.drawn))}
    return Response(change.plane.tobytes(), headers=headers, media_type="application/octet-stream")


def _state(drawing: Drawing) -> dict[str, Any]:
    cursor, last = drawing.state["cursor"], drawing.state["last"]
    return {"drawn": drawing.drawn, "can_undo": cursor > 0, "can_redo": last > cursor}


def _coded(label: Label) -> dict[str, Any]:
    shown = property_of(label.name)
    side = "" if shown.side is None else f", {shown.side[1]}"
    return {**label.model_dump(), "code": shown.kind[0], "meaning": f"{shown.kind[1]}{side}"}
