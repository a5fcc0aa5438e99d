"""Servers that are killed with nothing said before: what was drawn stays, work goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from served import Served, Start, ask, wait_for

from dpcenet.app.drawing import Drawing
from dpcenet.app.jobs import is_alive
from dpcenet.app.mask_files import read_labels, state_of
from dpcenet.app.project import Label, Project, Scan
from dpcenet.app.shown_scan import make_ready
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_record import is_corrected, write_record
from dpcenet.volumes.write_masks import write_mask

LIVER = [Label(value=1, name="liver", colour="#00c2ff")]


def first(served: Served) -> str:
    return str(ask(served, "/api/scans")["scans"][0]["id"])


def put(served: Served, scan: str, z: int, plane: np.ndarray, stroke: str = "") -> None:
    ask(served, f"/api/scans/{scan}/labels/0/{z}", "PUT", plane.tobytes(), **{"X-Stroke": stroke})


@pytest.fixture
def drawing(scans: Path, tmp_path: Path) -> Drawing:
    return open_drawing(scans, tmp_path / "project")


def open_drawing(scans: Path, root: Path) -> Drawing:
    project = Project.open(scans, root)
    scan: Scan = next(iter(project.scans.values()))
    return Drawing.open(scan, make_ready(scan))


def made_plane(drawing: Drawing, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 2, drawing.facts.shape[1:], dtype=np.uint8)


def test_kill_while_drawing(started: Start, scans: Path, tmp_path: Path) -> None:
    served = started(scans, tmp_path / "project")
    scan = first(served)
    shape = ask(served, f"/api/scans/{scan}")["shape"]
    random = np.random.default_rng(0)
    planes = random.integers(0, 2, shape, dtype=np.uint8)
    for z in range(shape[0]):
        put(served, scan, z, planes[z])
    served.kill()  # within a second of the last answer
    again = started(scans, tmp_path / "project")
    assert again.token == served.token, "an open page goes on with its token"
    written = tmp_path / "project" / "drawings" / "image_01"
    wait_for(
        lambda: slices_in(written.with_suffix(".json")) == list(range(shape[0])),
        "the drawing to be written by the second server, which nobody asked for the scan",
    )
    assert ask(again, f"/api/scans/{scan}")["drawn"] == list(range(shape[0]))
    kept = open_drawing(scans, tmp_path / "project")
    assert np.array_equal(kept.labels, planes)
    stored = kept.facts.orient.invert(planes)
    assert np.array_equal(read_volume(written.with_suffix(".nii.gz")).volume.data, stored)


def slices_in(record: Path) -> list[int]:
    """The drawn slices that a record names."""
    return sorted(map(int, json.loads(record.read_text())["drawn"])) if record.is_file() else []


@pytest.mark.slow
def test_kill_while_segmenting(
    started: Start, scans: Path, phantoms: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    """The work goes on without a server, and a second one follows it."""
    served = started(scans, tmp_path / "project")
    scan = first(served)
    mask = phantoms[0][1].read_bytes()
    ask(served, f"/api/scans/{scan}/mask?name=mask.nii.gz", "PUT", mask)
    names = {"content-type": "application/json"}
    ask(served, "/api/jobs", "POST", b'{"kind": "segment"}', **names)
    served.kill()
    again = started(scans, tmp_path / "project")
    assert ask(again, "/api/jobs/latest")["state"] == "running"
    job = ask(again, "/api/jobs/latest")
    ask(again, f"/api/jobs/{job['id']}/pause", "POST")
    assert ask(again, "/api/jobs/latest")["state"] == "paused"
    ask(again, f"/api/jobs/{job['id']}/resume", "POST")
    wait_for(lambda: ask(again, "/api/jobs/latest")["state"] == "done", "the masks", 200)
    job = ask(again, "/api/jobs/latest")
    assert [row["state"] for row in job["scans"]] == ["done"] * 3
    assert len(ask(again, "/api/review")["rows"]) == 4


@pytest.mark.slow
def test_a_cancelled_job_ends_and_a_second_one_goes_on(
    started: Start, scans: Path, phantoms: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    served = started(scans, tmp_path / "project")
    mask = phantoms[0][1].read_bytes()
    ask(served, f"/api/scans/{first(served)}/mask?name=mask.nii.gz", "PUT", mask)
    names = {"content-type": "application/json"}
    job = ask(served, "/api/jobs", "POST", b'{"kind": "segment"}', **names)
    ask(served, f"/api/jobs/{job['id']}/pause", "POST")
    ask(served, f"/api/jobs/{job['id']}/cancel", "POST")
    assert ask(served, "/api/jobs/latest")["state"] == "cancelled"
    log = tmp_path / "project" / "jobs" / job["id"] / "log.txt"
    wanted = b'{"kind": "segment", "accept_dice": 0.75}'
    second = ask(served, "/api/jobs", "POST", wanted, **names)
    asked = [other["command"][-2:] for other in (job, second)]
    assert asked == [["--accept-dice", "0.7"], ["--accept-dice", "0.75"]]
    assert second["id"] != job["id"] and log.is_file()
    ask(served, f"/api/jobs/{second['id']}/cancel", "POST")


def test_undo_and_redo_outlive_the_server(drawing: Drawing, scans: Path, tmp_path: Path) -> None:
    planes = [made_plane(drawing, seed) for seed in range(3)]
    for plane in planes:
        drawing.change(0, 4, plane)
    again = open_drawing(scans, tmp_path / "project")
    undone = again.undo()
    assert undone is not None and np.array_equal(undone.plane, planes[1])
    redone = again.redo()
    assert redone is not None and np.array_equal(redone.plane, planes[2])
    assert again.redo() is None
    for _ in planes:
        last = again.undo()
    assert last is not None and not last.plane.any() and again.undo() is None
    assert not again.labels.any() and again.drawn == []


def test_a_stroke_that_is_sent_in_parts_is_undone_as_one(drawing: Drawing) -> None:
    planes = [made_plane(drawing, seed) for seed in range(3)]
    drawing.change(0, 2, planes[0], "first")
    drawing.change(0, 2, planes[1], "second")
    drawing.change(0, 2, planes[2], "second")
    undone = drawing.undo()
    assert undone is not None and np.array_equal(undone.plane, planes[0])


def test_planes_of_all_three_axes(drawing: Drawing) -> None:
    random = np.random.default_rng(1)
    expected = np.zeros(drawing.facts.shape, np.uint8)
    for axis in (1, 2, 0):
        index = drawing.facts.shape[axis] // 2
        sides = [side for n, side in enumerate(drawing.facts.shape) if n != axis]
        plane = random.integers(0, 3, sides, dtype=np.uint8)
        drawing.change(axis, index, plane)
        np.moveaxis(expected, axis, 0)[index] = plane
    assert np.array_equal(drawing.labels, expected)
    assert drawing.drawn == list(range(drawing.facts.shape[0]))


def test_only_drawn_slices_are_given_to_complete(drawing: Drawing) -> None:
    drawing.change(0, 3, np.ones_like(made_plane(drawing, 0)))
    drawing.change(0, 6, np.ones_like(made_plane(drawing, 0)))
    drawing.save(LIVER)
    stored = read_volume(drawing.scan.drawing).volume.data
    shown = drawing.facts.orient.apply(
        type(read_volume(drawing.scan.drawing).volume)(stored, drawing.facts.source_grid.matrix)
    ).data
    assert np.flatnonzero(shown.any(axis=(1, 2))).tolist() == [3, 6]


def result_of_segment(drawing: Drawing, source: Path) -> Path:
    """A mask with its record, as `dpcenet segment` leaves them, taken into the drawing."""
    mask = drawing.scan.mask
    mask.parent.mkdir()
    shutil.copy(source, mask)
    write_record(mask, {}, [mask], {})
    assert drawing.follow()
    return mask


def test_a_change_that_is_taken_back_leaves_a_result_as_it_was(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    """Bytes, state and drawn slices; done again, it is a correction again."""
    mask = result_of_segment(drawing, phantoms[0][1])
    before = mask.read_bytes()
    for axis, index in ((0, 3), (1, 20), (0, 3)):
        plane = drawing.plane(axis, index)
        plane[2:4, 2:4] = 1
        drawing.change(axis, index, plane)
        drawing.save(LIVER)
        assert state_of(drawing.scan) == "corrected" and drawing.drawn
        assert drawing.scan.drawing.is_file()
    for _ in range(3):
        assert state_of(drawing.scan) == "corrected"
        assert drawing.undo() is not None
        drawing.save(LIVER)
    assert mask.read_bytes() == before and state_of(drawing.scan) == "segmented"
    assert drawing.drawn == [] and not drawing.scan.drawing.exists()
    drawing.redo()
    drawing.save(LIVER)
    assert state_of(drawing.scan) == "corrected" and drawing.drawn == [3]
    kept = drawing.plane(0, 3)
    kept[2:4, 2:4] = 0
    drawing.change(0, 3, kept)  # erased by hand
    drawing.save(LIVER)
    assert mask.read_bytes() == before and state_of(drawing.scan) == "segmented"


def test_a_result_that_was_made_anew_is_not_replaced_by_an_older_one(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    result_of_segment(drawing, phantoms[0][1])
    drawing.change(0, 3, made_plane(drawing, 0))
    drawing.save(LIVER)
    drawing.undo()
    drawing.save(LIVER)
    mask = drawing.scan.mask
    newer = np.roll(read_labels(mask, drawing.facts), 2, axis=1)
    write_mask(drawing.facts.orient.invert(newer), mask, drawing.facts.source_grid)
    write_record(mask, {}, [mask], {})
    assert drawing.follow() and np.array_equal(drawing.labels, newer)
    older = read_labels(phantoms[0][1], drawing.facts)
    for z in range(len(older)):
        drawing.change(0, z, older[z])
    drawing.save(LIVER)
    assert state_of(drawing.scan) == "corrected"
    assert np.array_equal(read_labels(drawing.scan.mask, drawing.facts), older)


def test_slices_drawn_before_stay_drawn_when_a_later_stroke_is_undone(drawing: Drawing) -> None:
    first, second = made_plane(drawing, 0), made_plane(drawing, 1)
    drawing.change(0, 3, first, "one")
    since = drawing.state["drawn"]["3"]
    drawing.change(0, 3, second, "two")
    drawing.change(0, 3, first | second, "two")
    drawing.undo()
    assert drawing.drawn == [3] and drawing.state["drawn"]["3"] == since
    drawing.undo()
    assert drawing.drawn == []


def test_a_drawing_of_which_all_was_erased_is_none(drawing: Drawing) -> None:
    drawing.change(0, 3, made_plane(drawing, 0))
    drawing.save(LIVER)
    assert state_of(drawing.scan) == "drawn"
    drawing.change(0, 3, np.zeros_like(made_plane(drawing, 0)))
    drawing.save(LIVER)
    assert state_of(drawing.scan) == "none"


def test_a_mask_that_another_program_wrote_is_taken(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    drawing.change(0, 3, np.ones_like(made_plane(drawing, 0)))
    drawing.save(LIVER)
    shutil.copy(phantoms[0][1], drawing.scan.drawing)
    assert drawing.follow()
    truth = drawing.facts.orient.apply(read_volume(phantoms[0][1]).volume).data
    assert np.array_equal(drawing.labels, truth)


def test_what_is_not_saved_yet_is_never_overwritten_by_a_file(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    plane = made_plane(drawing, 0)
    drawing.change(0, 3, plane)
    drawing.scan.drawing.parent.mkdir()
    shutil.copy(phantoms[0][1], drawing.scan.drawing)
    assert not drawing.follow() and np.array_equal(drawing.plane(0, 3), plane)


def test_slices_drawn_before_stand_in_what_the_network_made_since(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    plane = made_plane(drawing, 0)
    drawing.change(0, 3, plane)
    drawing.save(LIVER)
    mask = result_of_segment(drawing, phantoms[0][1])
    truth = drawing.facts.orient.apply(read_volume(phantoms[0][1]).volume).data
    assert np.array_equal(drawing.plane(0, 3), plane)
    assert np.array_equal(drawing.plane(0, 4), truth[4])
    drawing.save(LIVER)
    assert is_corrected(mask) and np.array_equal(read_labels(mask, drawing.facts), drawing.labels)


def test_a_correction_by_another_program_wins_over_older_drawings(
    drawing: Drawing, phantoms: list[tuple[Path, Path]]
) -> None:
    drawing.change(0, 3, made_plane(drawing, 0))
    drawing.save(LIVER)
    mask = drawing.scan.mask
    mask.parent.mkdir()
    shutil.copy(phantoms[1][1], mask)
    write_record(mask, {}, [mask], {})
    shutil.copy(phantoms[0][1], mask)
    assert drawing.follow()
    truth = drawing.facts.orient.apply(read_volume(phantoms[0][1]).volume).data
    assert np.array_equal(drawing.labels, truth)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**80])
def test_a_damaged_number_is_no_process(number: int) -> None:
    assert not is_alive(number, "")
