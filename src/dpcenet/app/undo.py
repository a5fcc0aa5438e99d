"""What a person did last, on disk: a plane of the labels before and after each change, and since
when the slices that it touched count as drawn."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpcenet.app.program import write_atomically

Plane = npt.NDArray[np.uint8]
Drawn = dict[str, str | None]
"""Slice → when a person last drew on it; None where nobody had."""
KEPT = 200
"""Changes that can be undone."""


@dataclass(frozen=True)
class Step:
    """A plane before and after a change.

    Attributes:
        axis, index: which plane of the labels.
        planes: before, and after.
        drawn: of the slices that it touched, before and after.
    """

    axis: int
    index: int
    planes: tuple[Plane, Plane]
    drawn: tuple[Drawn, Drawn]


def write_step(folder: Path, number: int, step: Step) -> None:
    """Keep a change; the one that is `KEPT` changes older is forgotten."""
    folder.mkdir(exist_ok=True)
    head = np.array([step.axis, step.index], "<u4").tobytes()
    planes = b"".join(plane.tobytes() for plane in step.planes)
    content = zlib.compress(head + planes + json.dumps(step.drawn).encode(), 1)
    write_atomically(folder / str(number), lambda path: path.write_bytes(content))
    (folder / str(number - KEPT)).unlink(missing_ok=True)


def read_step(folder: Path, number: int, shape: tuple[int, int, int]) -> Step:
    """A change that was kept.

    Args:
        folder, number: see `write_step`.
        shape: (Z, Y, X) of the labels.
    """
    content = zlib.decompress((folder / str(number)).read_bytes())
    axis, index = np.frombuffer(content, "<u4", 2).tolist()
    sides = [side for n, side in enumerate(shape) if n != axis]
    size = 2 * sides[0] * sides[1]
    planes = np.frombuffer(content, np.uint8, size, offset=8).reshape(2, *sides)
    before, after = json.loads(
        content[8 + size :] or b"[{}, {}]"
    )  # older versions kept planes only
    return Step(axis, index, (planes[0], planes[1]), (before, after))


def with_drawn(drawn: dict[str, str], changes: Drawn) -> dict[str, str]:
    """Drawn slices with some changed; None takes one out."""
    return {k: v for k, v in {**drawn, **changes}.items() if v is not None}
