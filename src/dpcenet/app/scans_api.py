"""Scans: the list, what is known of each, and its voxels in parts that fit into memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse
from PIL import Image

from dpcenet.app.mask_files import state_of
from dpcenet.app.program import read_volume, write_atomically
from dpcenet.app.project import Scan
from dpcenet.app.session import Session
from dpcenet.app.shown_scan import Facts, image_of, shown_facts, thumbnail_of

SLAB_BYTES = 64 * 1024**2
"""Most that one answer holds."""


def router(session: Session) -> APIRouter:
    """Calls under /api/scans."""
    api = APIRouter(prefix="/api/scans", tags=["scans"])

    @api.get("")
    def list_scans(again: bool = False) -> dict[str, Any]:
        """All scans of the folder; `again` searches it again."""
        if again:
            session.project.find_scans()
        rows = [_row(scan) for scan in session.project.scans.values()]
        return {"scans": rows, "left_out": session.project.left_out}

    @api.get("/{scan_id}")
    def open_scan(scan_id: str) -> dict[str, Any]:
        """Geometry, window, modality and the doctor's notes; the scan is read the first time."""
        scan = session.scan(scan_id)
        facts = session.facts(scan)
        return {**_row(scan), **_shown(facts), "drawn": session.drawing(scan_id).drawn}

    @api.get("/{scan_id}/thumbnail.png", response_class=Response)
    def thumbnail(scan_id: str) -> Response:
        """The middle slice, small."""
        scan = session.scan(scan_id)
        facts = session.facts(scan)
        stream = io.BytesIO()
        Image.fromarray(thumbnail_of(image_of(scan, facts), facts)).save(stream, format="PNG")
        return Response(stream.getvalue(), media_type="image/png")

    @api.get("/{scan_id}/image.nii", response_class=FileResponse)
    def image_file(scan_id: str) -> FileResponse:
        """The scan as shown, as NIfTI; ranges are served."""
        scan = session.scan(scan_id)
        session.facts(scan)
        return FileResponse(scan.cache / "image.nii", media_type="application/octet-stream")

    @api.get("/{scan_id}/labels.nii", response_class=FileResponse)
    def labels_file(scan_id: str) -> FileResponse:
        """The labels as shown, as NIfTI; ranges are served."""
        scan = session.drawing(scan_id).scan
        return FileResponse(scan.cache / "labels.nii", media_type="application/octet-stream")

    @api.get("/{scan_id}/image/{axis}/{first}", response_class=Response)
    def image_slab(scan_id: str, axis: int, first: int, count: int = 1) -> Response:
        """Planes of the scan from `first` on, little-endian."""
        scan = session.scan(scan_id)
        return slab(image_of(scan, session.facts(scan)), axis, first, count)

    @api.get("/{scan_id}/labels/{axis}/{first}", response_class=Response)
    def labels_slab(scan_id: str, axis: int, first: int, count: int = 1) -> Response:
        """Planes of the labels from `first` on, uint8."""
        return slab(session.drawing(scan_id).labels, axis, first, count)

    @api.get("/{scan_id}/extent")
    def extent(scan_id: str) -> dict[str, list[int]]:
        """Labelled voxels in each slice."""
        labels = session.drawing(scan_id).labels
        return {"slices": np.count_nonzero(labels, axis=(1, 2)).tolist()}

    @api.get("/{scan_id}/probability/{value}/{axis}/{first}", response_class=Response)
    def probability_slab(
        scan_id: str, value: int, axis: int, first: int, count: int = 1
    ) -> Response:
        """Planes of the network's probability of a label, uint8: 0 to 255."""
        scan = session.scan(scan_id)
        return slab(_probability(scan, session.facts(scan), value), axis, first, count)

    return api


def slab(data: npt.NDArray[Any], axis: int, first: int, count: int) -> Response:
    """Some planes of an array (Z, Y, X), the plane's number first.

    Raises:
        HTTPException: 404, there are no such planes; 413, too many.
    """
    if not (0 <= axis < 3 and count >= 1 and first >= 0 and first + count <= data.shape[axis]):
        raise HTTPException(404, "no such plane")
    plane = data.nbytes // data.shape[axis]
    if count > 1 and plane * count > SLAB_BYTES:
        raise HTTPException(413, f"at most {SLAB_BYTES} bytes at once")
    planes = np.moveaxis(data, axis, 0)[first : first + count]
    little = np.ascontiguousarray(planes, data.dtype.newbyteorder("<"))
    return Response(little.tobytes(), media_type="application/octet-stream")


def _probability(scan: Scan, facts: Facts, value: int) -> npt.NDArray[np.uint8]:
    """The probability of a label as shown, kept in the cache as bytes.

    Raises:
        HTTPException: 404, it was not written.
    """
    path = scan.mask.with_name(f"{scan.query.name.name}_prob_{value}.nii.gz")
    if not path.is_file():
        raise HTTPException(404, "no probability of this label")
    kept = scan.cache / f"probability-{value}.npy"
    if not kept.is_file() or kept.stat().st_mtime_ns < path.stat().st_mtime_ns:
        volume = facts.orient.apply(read_volume(path).volume)
        shown = np.rint(np.clip(volume.data.astype(np.float32), 0, 1) * 255).astype(np.uint8)
        write_atomically(kept, lambda part: np.save(part, shown))
    loaded: npt.NDArray[np.uint8] = np.load(kept, mmap_mode="r", allow_pickle=False)
    return loaded


def _row(scan: Scan) -> dict[str, Any]:
    known = shown_facts(scan) if _there(scan.query.files) else None
    short = None if known is None else _shown(known)
    return {"id": scan.id, "name": scan.name, "state": state_of(scan), "facts": short}


def _there(files: tuple[Path, ...]) -> bool:
    return all(path.is_file() for path in files)


def _shown(facts: Facts) -> dict[str, Any]:
    names = ("shape", "spacing", "affine", "dtype", "window", "range", "modality", "orientation")
    return {name: getattr(facts, name) for name in (*names, "errors", "notes")}
