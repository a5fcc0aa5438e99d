"""What a person does on the page, with the mouse."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def until(page: Any, expression: str, seconds: float = 30) -> None:
    """Wait until an expression holds in the page.

    Asked from here: the page's policy forbids the `eval` that Playwright's own waiting needs.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"waited {seconds} s for {expression}"
        page.wait_for_timeout(50)


def ready(page: Any) -> None:
    """Wait until the large view has drawn the slice that it should show."""
    canvas = "document.querySelector('.stage canvas')"
    until(page, f"!!(window.dpcenet && {canvas}?.dataset.painted)")
    until(page, f"Number({canvas}.dataset.index) === dpcenet.scene.at[0]")


def go_to_slice(page: Any, z: int) -> None:
    """Turn the wheel until slice `z` is there."""
    box = page.locator(".stage canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    now = page.evaluate("dpcenet.scene.at[0]")
    for _ in range(abs(z - now)):
        page.mouse.wheel(0, 100 if z > now else -100)
    until(page, f"dpcenet.scene.at[0] === {z}")
    ready(page)


def on_screen(page: Any, row: float, column: float) -> tuple[float, float]:
    """Where a voxel of the large view is on the screen."""
    box = page.locator(".stage canvas").first.bounding_box()
    x, y = page.evaluate(f"dpcenet.views[0].toScreen([{row}, {column}])")
    return box["x"] + x, box["y"] + y


def trace(page: Any, corners: npt.NDArray[np.float64]) -> None:
    """Follow an outline (N, 2) with the button held."""
    places = [on_screen(page, float(row), float(column)) for row, column in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def outline_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The outline (N, 2) of the largest part of a plane, as a hand would trace it."""
    from skimage.measure import find_contours

    parts, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, parts, range(1, count + 1))
    largest = np.pad(parts == int(np.argmax(sizes)) + 1, 1)
    contour: npt.NDArray[np.float64] = max(find_contours(largest.astype(float), 0.5), key=len) - 1
    return contour


def all_saved(page: Any) -> None:
    """Wait until the page says so."""
    until(page, "document.getElementById('saved').textContent === 'All saved'")


def wait_for_job(page: Any, kind: str, state: str = "done", seconds: float = 240) -> None:
    """Wait until the last job is of a kind and in a state."""
    latest = "fetch('/api/jobs/latest').then((answer) => answer.json())"
    until(page, f"{latest}.then((job) => job.kind === '{kind}' && job.state === '{state}')", seconds)
