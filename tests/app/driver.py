"""What a person does on the page, with the mouse."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

pytest.importorskip("playwright", reason="no playwright (extra `dev`)")
from playwright.sync_api import Error


def until(page: Any, expression: str, seconds: float = 120) -> None:
    """Wait until an expression holds in the page.

    Asked from here: the page's policy forbids the `eval` that Playwright's own waiting needs.
    """
    end = time.monotonic() + seconds
    while not holds(page, expression):
        assert time.monotonic() < end, f"waited {seconds} s for {expression}"
        page.wait_for_timeout(50)


def holds(page: Any, expression: str) -> bool:
    """Whether an expression holds; not while the page is loaded anew, or lacks what it names."""
    asked = f"(() => {{ try {{ return !!({expression}) }} catch (e) {{ return false }} }})()"
    try:
        return bool(page.evaluate(asked))
    except Error as error:
        if "context was destroyed" not in str(error):
            raise
        return False


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


def outlines_of(mask: npt.NDArray[np.bool_], smallest: int = 8) -> list[npt.NDArray[np.float64]]:
    """The outlines (N, 2) of the parts of a plane, as a hand would trace them.

    Corners that lie within 0.3 voxels of the line between others are left out: each is a movement
    of the mouse, which takes long where the machine is busy.
    """
    from skimage.measure import approximate_polygon, find_contours

    parts, count = ndimage.label(mask)
    found = []
    for number in range(1, count + 1):
        part = np.pad(parts == number, 1)
        if part.sum() >= smallest:
            outline = max(find_contours(part.astype(float), 0.5), key=len) - 1
            found.append(approximate_polygon(outline, 0.3))
    return found


def all_saved(page: Any) -> None:
    """Wait until the page says so."""
    until(page, "document.getElementById('saved').textContent === 'All saved'")


def latest_job(page: Any) -> dict[str, Any]:
    """The job that was started last; {} where there is none."""
    found: dict[str, Any] = page.evaluate("fetch('/api/jobs/latest').then((a) => a.json())")
    return found


def run_job(page: Any, name: str, kind: str, seconds: float = 1800) -> None:
    """Click the button that starts a job, and wait until it is done."""
    before = latest_job(page).get("id")
    page.get_by_role("button", name=name, exact=True).last.click()
    end = time.monotonic() + seconds
    while True:
        job = latest_job(page)
        if job.get("id") != before and job["state"] not in ("running", "paused"):
            break
        assert time.monotonic() < end, f"waited {seconds} s for {kind}: {job}"
        page.wait_for_timeout(300)
    assert (job["kind"], job["state"]) == (kind, "done"), job
