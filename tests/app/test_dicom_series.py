"""A folder of DICOM series on the page: masks are SEGs that say who made them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")

from dicoms import change  # noqa: E402
from dpcenet.app import take_mask  # noqa: E402
from dpcenet.app.drawing import Drawing  # noqa: E402
from dpcenet.app.export import export  # noqa: E402
from dpcenet.app.mask_files import put_aside, read_labels, state_of  # noqa: E402
from dpcenet.app.project import Label, Project, Scan  # noqa: E402
from dpcenet.app.shown_scan import make_ready  # noqa: E402
from dpcenet.system.files import write_json  # noqa: E402
from dpcenet.volumes.dicom.segment_descriptions import Algorithm  # noqa: E402
from dpcenet.volumes.io import read_volume  # noqa: E402
from dpcenet.volumes.mask_record import record_path, write_record  # noqa: E402
from dpcenet.volumes.write_masks import write_labels, write_mask  # noqa: E402
from raw_layouts import made_case, write_dicom  # noqa: E402

LABELS = [
    Label(value=1, name="left kidney", colour="#00c2ff"),
    Label(value=2, name="tumor", colour="#ff9f43"),
]
NETWORK = "756383cdce2d" + "0" * 52


@pytest.fixture
def project(tmp_path: Path) -> Project:
    image, _ = made_case()
    write_dicom(image, tmp_path / "scans" / "series", [3, 0, 5, 1, 4, 2])
    project = Project.open(tmp_path / "scans", tmp_path / "project")
    project.set_labels(LABELS)
    return project


def only(project: Project) -> tuple[Scan, Drawing]:
    (scan,) = project.scans.values()
    return scan, Drawing.open(scan, make_ready(scan))


def draw(drawing: Drawing, slices: tuple[int, ...] = (1, 3)) -> None:
    for z in slices:
        plane = np.zeros(drawing.facts.shape[1:], np.uint8)
        plane[5:9, 5:9], plane[10:12, 10:12] = 1, 2
        drawing.change(0, z, plane)


def segments(path: Path) -> tuple[str, set[str]]:
    """How a SEG says that its segments were made, and by which algorithm."""
    file = pydicom.dcmread(path)
    kinds = {each.SegmentAlgorithmType for each in file.SegmentSequence}
    names = {each.get("SegmentAlgorithmName", "") for each in file.SegmentSequence}
    assert len(kinds) == 1
    return kinds.pop(), names


def test_what_a_person_drew_is_manual_and_names_no_algorithm(project: Project) -> None:
    scan, drawing = only(project)
    draw(drawing)
    drawing.finish(LABELS)
    assert scan.mask.suffix == ".dcm" and segments(scan.mask) == ("MANUAL", {""})
    file = pydicom.dcmread(scan.mask)
    kidney, tumor = file.SegmentSequence
    assert "SegmentationAlgorithmIdentificationSequence" not in kidney
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert side[0].CodeMeaning == "Left"
    assert tumor.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    draw(drawing, (2,))
    drawing.save(LABELS)
    assert segments(scan.mask)[0] == "MANUAL"
    assert np.array_equal(read_labels(scan.mask, drawing.facts), drawing.labels)


def test_what_the_network_filled_in_is_semiautomatic(project: Project) -> None:
    scan, drawing = only(project)
    draw(drawing)
    drawing.save(LABELS)
    full = scan.cache / "full.nii.gz"  # as `dpcenet complete` writes it
    write_mask(
        drawing.facts.orient.invert(np.array(drawing.labels)), full, drawing.facts.source_grid
    )
    write_json(record_path(full), {"network": NETWORK})
    take_mask.main(project.root, scan.id, full)
    assert state_of(scan) == "labelled" and segments(scan.mask) == ("SEMIAUTOMATIC", {"dpcenet"})
    assert made_by(export(project, ["table"])) == {"a person, filled in by dpcenet"}


def test_what_the_network_made_is_automatic_until_it_is_corrected(project: Project) -> None:
    scan, drawing = only(project)
    result_of_segment(scan, drawing)
    out = export(project, ["dicom-seg", "masks", "table"])
    (seg,) = (out / "dicom-seg").iterdir()
    assert segments(seg) == ("AUTOMATIC", {"dpcenet"})
    maker = pydicom.dcmread(seg).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert NETWORK[:12] in maker.AlgorithmVersion
    (plain,) = (out / "masks").iterdir()
    for path in (seg, plain):
        assert np.array_equal(
            read_labels(path, drawing.facts), read_labels(scan.mask, drawing.facts)
        )
    assert drawing.follow()
    draw(drawing, (0,))  # where the network found nothing
    drawing.save(LABELS)
    assert state_of(scan) == "corrected" and segments(scan.mask) == ("SEMIAUTOMATIC", {"dpcenet"})
    assert made_by(export(project, ["table", "dicom-seg"])) == {"dpcenet, corrected"}
    assert segments(seg)[0] == "SEMIAUTOMATIC"
    drawing.undo()
    drawing.save(LABELS)
    assert state_of(scan) == "segmented" and segments(scan.mask) == ("AUTOMATIC", {"dpcenet"})


def test_a_mask_from_a_file_claims_neither_a_person_nor_this_network(project: Project) -> None:
    scan, drawing = only(project)
    draw(drawing)
    drawing.finish(LABELS, "file")
    kind, names = segments(scan.mask)
    assert kind == "SEMIAUTOMATIC" and names == {"unknown, taken from a file"}
    put_aside(scan, project.root / "removed")
    assert state_of(scan) == "none" and not record_path(scan.mask).exists()


def test_a_series_that_no_seg_can_refer_to_gets_nifti(project: Project, tmp_path: Path) -> None:
    for file in (tmp_path / "scans" / "series").iterdir():
        change(file, FrameOfReferenceUID=None)
    project.find_scans()
    scan, drawing = only(project)
    draw(drawing)
    drawing.finish(LABELS)
    assert scan.mask.name.endswith("_seg.nii.gz") and state_of(scan) == "labelled"
    draw(drawing, (2,))
    drawing.save(LABELS)
    assert np.array_equal(read_labels(scan.mask, drawing.facts), drawing.labels)
    assert drawing.undo() is not None, "the other place of the mask is no news"
    out = export(project, ["masks", "dicom-seg", "table"])
    assert not (out / "dicom-seg").exists() and len(list((out / "masks").iterdir())) == 1
    assert made_by(out) == {"a person"}


def result_of_segment(scan: Scan, drawing: Drawing) -> None:
    """A mask with its record, as `dpcenet segment` leaves them."""
    shown = np.zeros(drawing.facts.shape, np.uint8)
    shown[1:4, 5:9, 5:9], shown[2, 10:12, 10:12] = 1, 2
    stored = drawing.facts.orient.invert(shown)
    made = Algorithm("0.1.0", f"InContext {NETWORK[:12]}")
    scan.mask.parent.mkdir(parents=True, exist_ok=True)
    names = {label.value: label.name for label in LABELS}
    write_labels(stored, scan.mask, scan.query.read(), names, made)
    write_record(scan.mask, {"network": NETWORK, "dpcenet": "0.1.0"}, [scan.mask], {})
    assert read_volume(scan.mask).volume.data.any()


def made_by(out: Path) -> set[str]:
    """What the table says made the labels, one row each."""
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["left kidney", "tumor"]
    return {row["made by"] for row in rows}
