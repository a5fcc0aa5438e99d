"""Surfaces of masks, in the millimetres of the patient."""

# scikit-image has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import marching_cubes

from dpcenet.system.files import write_atomically
from dpcenet.types import Volume
from dpcenet.volumes.boxes_and_values import label_boxes

HEADER = b"dpcenet surface in mm, SPACE=LPS; for research only"
"""Of a binary STL file. "SPACE=LPS" is how 3D Slicer is told the frame; most viewers take LPS."""

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])

Triangles = npt.NDArray[np.float64]


def surface(mask: Volume, value: int) -> Triangles:
    """Triangles (T, 3 corners, 3) in LPS+ mm around a label; none around an absent one.

    Seen from outside, corners run counter-clockwise.
    """
    labels: npt.NDArray[np.integer[Any]] = np.asarray(mask.data)
    box = label_boxes(labels).get(value)
    if box is None:
        return np.zeros((0, 3, 3))
    padded = np.pad(labels[box] == value, 1).astype(np.float32)
    places, faces, _, _ = marching_cubes(padded, level=0.5)
    index = places + [part.start - 1 for part in box]
    ras = index @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    corners: Triangles = (ras * _RAS_TO_LPS)[faces]
    # The axes may be left-handed; then all triangles look inwards.
    return corners if signed_volume(corners) > 0 else corners[:, ::-1]


def signed_volume(triangles: Triangles) -> float:
    """Volume in mm³ inside closed triangles; below 0 where they look inwards."""
    one, two, three = np.moveaxis(triangles - triangles.mean(axis=(0, 1)), 1, 0)
    return float((one * np.cross(two, three)).sum() / 6)


def write_stl(triangles: Triangles, path: Path) -> None:
    """Write a binary STL file, whole or not at all."""
    rows = np.zeros(len(triangles), dtype=_TRIANGLE)
    edges = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normals = np.cross(*edges)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    rows["normal"] = normals / np.maximum(lengths, 1e-12)
    rows["corners"] = triangles
    content = HEADER.ljust(80) + np.uint32(len(rows)).astype("<u4").tobytes() + rows.tobytes()
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
