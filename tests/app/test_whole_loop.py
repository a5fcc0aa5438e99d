"""The whole loop in a real browser: draw, fill in, segment, review, correct, again, export."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from driver import (
    all_saved,
    go_to_slice,
    on_screen,
    outlines_of,
    ready,
    run_job,
    trace,
    until,
)
from served import Start, wait_for

from dpcenet.segmentation.task_file import task_facts
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_record import is_corrected


def test_from_unlabelled_scans_to_an_export(
    page: Any,
    started: Start,
    phantoms: list[tuple[Path, Path]],
    scans: Path,
    tmp_path: Path,
    picture: Callable[[Any, str], None],
) -> None:
    server = started(scans, tmp_path / "project")
    liver = shown_labels(phantoms[0][1]) == 1

    page.goto(server.address)
    page.wait_for_selector(".card:nth-child(4) img")
    picture(page, "scans")
    page.locator(".card", has_text="image_01").click()
    ready(page)

    page.get_by_placeholder("New label").fill("liver")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("option", name="liver").wait_for()
    page.get_by_role("button", name="Outline").click()
    shown = np.flatnonzero(liver.sum(axis=(1, 2)) > 20)
    drawn = [int(z) for z in np.linspace(shown[0], shown[-1], 4).round()]
    for z in drawn:
        go_to_slice(page, z)
        for outline in outlines_of(liver[z]):
            trace(page, outline)
    all_saved(page)
    picture(page, "label")
    drawing = tmp_path / "project" / "drawings" / "image_01"
    wait_for(lambda: written(drawing.with_suffix(".json")) == drawn, "the drawing to be written")
    mask = shown_labels(drawing.with_suffix(".nii.gz")) == 1
    for z in drawn:
        overlap = 2 * (mask[z] & liver[z]).sum() / (mask[z].sum() + liver[z].sum())
        assert overlap > 0.9, (z, overlap)
    assert not mask[[z for z in range(len(mask)) if z not in drawn]].any()

    run_job(page, "Fill in", "complete")
    page.get_by_role("button", name="Segment the rest").click()
    picture(page, "segment")
    run_job(page, "Segment the scans (3)", "segment")
    page.get_by_role("button", name="Review the results").click()
    ready(page)
    until(page, "document.querySelectorAll('.list li').length === 4")
    picture(page, "review")
    check_beside(page, tmp_path / "project" / "masks" / "review")
    first = page.locator(".facts h1").text_content()
    page.keyboard.press("a")  # accept; the next one opens
    until(page, f"document.querySelector('.facts h1').textContent !== {json.dumps(first)}")
    ready(page)

    second = page.locator(".facts h1").text_content()
    result = tmp_path / "project" / "masks" / f"{second}_seg.nii.gz"
    page.keyboard.press("c")
    check_taken_back(page, result)
    page.keyboard.press("c")
    place = correct_with_the_brush(page)
    picture(page, "correct")
    page.keyboard.press("c")
    wait_for(lambda: is_corrected(result), "the correction to be written")
    assert shown_labels(result)[place] == 1
    assert nearest_voxel(result, page) == place  # in mm, by the file's own header

    page.get_by_role("button", name="Segment the rest again").click()
    run_job(page, "Segment the rest again (2)", "segment")
    assert shown_labels(result)[place] == 1, "a corrected mask is kept"
    page.get_by_role("button", name="Review", exact=True).click()
    ready(page)
    changed = page.evaluate("fetch('/api/review').then((answer) => answer.json())")["rows"]
    assert sum(bool(row["changed"]) for row in changed) == 2
    check_changes(page, changed)
    check_unmatched(page, tmp_path / "project" / "masks" / "review", str(first))

    page.get_by_role("button", name="Export", exact=True).first.click()
    for box in page.locator(".choice input").all():
        box.check()
    run_job(page, "Export", "export")
    page.locator("text=table.csv").wait_for()
    picture(page, "export")
    check_export(tmp_path / "project" / "export", scans, place, str(second), str(first))


def check_beside(page: Any, review: Path) -> None:
    """The labelled scan shows the slice that the network used, and scrolls with the result."""
    beside = page.locator(".beside .info")
    assert beside.text_content() == "the slice that the network used for liver"
    case = page.locator(".facts h1").text_content()
    (used,) = json.loads((review / f"{case}.json").read_text())["matches"]["scans"]
    z = page.evaluate("dpcenet.scene.at[0]")
    # Phantoms are stored as they are shown, from feet to head.
    assert page.evaluate("dpcenet.beside.scene.at[0]") == used["labels"]["liver"][z]
    box = page.locator(".beside canvas").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, 100)
    until(page, f"dpcenet.scene.at[0] === {z + 1}")
    expected = used["labels"]["liver"][z + 1]
    shown = used["whole"][z + 1] if expected < 0 else expected
    assert page.evaluate("dpcenet.beside.scene.at[0]") == shown


def check_changes(page: Any, rows: list[dict[str, Any]]) -> None:
    """What the second round changed is told for each result: volumes, and how alike they are."""
    for row in rows:
        for change in (row["changed"] or {}).values():
            assert 0 <= change["dice"] <= 1 and change["before_ml"] > 0 and change["after_ml"] > 0
    row = next(row for row in rows if row["changed"])
    page.locator(".list li button", has_text=row["name"]).click()
    before = round(row["changed"]["1"]["before_ml"])
    page.locator(".facts", has_text=f"liver {before} → ").wait_for()


def check_unmatched(page: Any, review: Path, case: str) -> None:
    """A result of an older version keeps no matches: the page says what it shows instead."""
    path = review / f"{case}.json"
    facts = json.loads(path.read_text())
    del facts["matches"]
    path.write_text(json.dumps(facts))
    for name in ("image_01", case):  # another one first: what is open already is not read again
        page.locator(".list li button", has_text=name).click()
        until(page, f"document.querySelector('.facts h1').textContent === {json.dumps(name)}")
    until(page, "document.querySelector('.beside .info').textContent.startsWith('not matched: ')")


def check_taken_back(page: Any, result: Path) -> None:
    """A correction that is undone is none: the file is the network's, and the page says so."""
    before = result.read_bytes()
    correct_with_the_brush(page)
    wait_for(lambda: is_corrected(result), "the correction to be written")
    page.keyboard.press("z")
    all_saved(page)
    page.keyboard.press("c")
    page.locator(".toast", has_text="Nothing was changed").wait_for()
    assert result.read_bytes() == before
    assert "corrected" not in str(page.locator(".list li button[aria-current=true]").text_content())


def correct_with_the_brush(page: Any) -> tuple[int, int, int]:
    """Paint one small spot on the shown slice; the voxel under the mouse."""
    z = page.evaluate("dpcenet.scene.at[0]")
    page.evaluate("dpcenet.editor.set({ radius: 0.5 })")
    row, column = 5, 40  # outside the body, where the network found nothing
    page.mouse.click(*on_screen(page, row, column))
    all_saved(page)
    return z, row, column


def nearest_voxel(mask: Path, page: Any) -> tuple[int, ...]:
    """The voxel of a mask at the place in mm that the page shows for the spot, as it was shown."""
    affine = np.array(page.evaluate("dpcenet.scene.facts.affine"))
    spot = np.argwhere(shown_labels(mask)[:, :10] == 1)[0]  # the spot is the only one up there
    mm = affine @ [*spot, 1]
    header = nibabel.load(mask)
    stored = np.rint(np.linalg.inv(header.affine) @ mm)[:3].astype(int)
    assert np.asarray(header.dataobj)[tuple(stored)] == 1
    return tuple(int(n) for n in spot)


def check_export(
    out: Path, scans: Path, place: tuple[int, int, int], corrected: str, accepted: str
) -> None:
    """Masks on the scans' grids, a row for each, a data set, a task."""
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [row["case"] for row in rows] == [f"image_0{n}" for n in range(1, 5)]
    by_case = {row["case"]: row for row in rows}
    assert by_case["image_01"]["made by"] == "a person, filled in by dpcenet"
    assert by_case[corrected]["made by"] == "dpcenet, corrected"
    assert by_case[accepted]["decision"] == "accept" and by_case[accepted]["decided"]
    for row in rows:
        mask = nibabel.load(out / "masks" / f"{row['case']}.nii.gz")
        image = nibabel.load(scans / f"{row['case']}.nii.gz")
        assert np.allclose(mask.affine, image.affine) and mask.shape == image.shape
        inside = np.asarray(mask.dataobj) == 1
        ml = inside.sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000
        assert float(row["volume ml"]) == pytest.approx(ml, abs=0.001)
        grey = np.asarray(image.dataobj)[inside]
        assert float(row["mean"]) == pytest.approx(grey.mean(), abs=0.01)
    assert shown_labels(out / "masks" / f"{corrected}.nii.gz")[place] == 1
    slicer = sitk.ReadImage(str(out / "seg-nrrd" / "image_01.seg.nrrd"))
    assert slicer.GetMetaData("Segment0_Name") == "liver"
    assert len(list((out / "pictures").glob("*.png"))) == 4
    assert len(list((out / "nnunet" / "imagesTr").iterdir())) == 3  # drawn, corrected, accepted
    facts = json.loads((out / "nnunet" / "dataset.json").read_text())
    assert facts["numTraining"] == 3 and facts["labels"] == {"background": 0, "liver": 1}
    assert "liver" in task_facts(out / "project.task")["labels"].values()


def written(record: Path) -> list[int]:
    """The drawn slices that a record names."""
    return sorted(map(int, json.loads(record.read_text())["drawn"])) if record.is_file() else []


def shown_labels(path: Path) -> npt.NDArray[np.uint8]:
    """Labels of a file as the page shows them: slices upwards, rows to the back."""
    return np.asarray(orient(read_volume(path).volume)[0].data).astype(np.uint8)
