"""What an export writes, without a browser."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from dpcenet.app.export import export
from dpcenet.app.project import Label, Project
from dpcenet.app.review_api import decide_on
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_record import write_record

LABELS = [
    Label(value=1, name="liver", colour="#00c2ff"),
    Label(value=4, name="left kidney", colour="#ff9f43"),
]


@pytest.fixture
def project(scans: Path, phantoms: list[tuple[Path, Path]], tmp_path: Path) -> Project:
    """Four scans with masks of two labels; the second one is rejected, the third one open."""
    project = Project.open(scans, tmp_path / "project")
    project.set_labels(LABELS)
    for number, (scan, (_, label)) in enumerate(zip(project.scans.values(), phantoms, strict=True)):
        scan.mask.parent.mkdir(exist_ok=True)
        shutil.copy(label, scan.mask)
        if number:
            write_record(scan.mask, {}, [scan.mask], {})
        for decision in ["accept", "reject"][: number % 3]:  # none, accept, then reject
            decide_on(project, scan, decision)
    return project


def test_rejected_results_are_in_the_table_only(project: Project) -> None:
    out = export(project, ["masks", "table", "nnunet", "seg-nrrd"])
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert {row["case"]: row["decision"] for row in rows} == {
        "image_01": "",
        "image_02": "accept",
        "image_03": "reject",
        "image_04": "",
    }
    masks = sorted(path.name for path in (out / "masks").iterdir())
    assert masks == ["image_01.nii.gz", "image_02.nii.gz", "image_04.nii.gz"]
    images = sorted(path.name for path in (out / "nnunet" / "imagesTr").iterdir())
    assert images == ["image_01_0000.nii.gz", "image_02_0000.nii.gz"]
    decided = json.loads((project.root / "decisions.json").read_text())["cases"]["image_03"]
    assert [entry["decision"] for entry in decided["history"]] == ["accept", "reject"]


def test_masks_carry_names_and_codes(project: Project) -> None:
    """In the table that nibabel shows as an extension, in their own values."""
    out = export(project, ["masks"])
    (table,) = nibabel.load(out / "masks" / "image_01.nii.gz").header.extensions
    text = table.get_content().decode()
    assert 'Key="1" Scheme="SCT" Code="10200004"' in text and ">liver<" in text
    assert 'Key="4" Scheme="SCT" Code="64033007"' in text and ">left kidney<" in text


def test_nnunet_gets_labels_without_gaps(project: Project) -> None:
    out = export(project, ["nnunet"])
    facts = json.loads((out / "nnunet" / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "liver": 1, "left kidney": 2}
    written = read_volume(out / "nnunet" / "labelsTr" / "image_01.nii.gz").volume.data
    known = read_volume(next(iter(project.scans.values())).mask).volume.data
    assert np.array_equal(written == 1, known == 1) and np.array_equal(written == 2, known == 4)
    assert set(np.unique(written)) == {0, 1, 2}


def test_seg_nrrd_lies_where_the_scan_lies(project: Project) -> None:
    """By SimpleITK's own idea of both files."""
    out = export(project, ["seg-nrrd"])
    slicer = sitk.ReadImage(str(out / "seg-nrrd" / "image_01.seg.nrrd"))
    image = sitk.ReadImage(str(next(iter(project.scans.values())).source))
    mask = sitk.ReadImage(str(next(iter(project.scans.values())).mask))
    assert slicer.GetMetaData("Segment1_Name") == "left kidney"
    assert "SCT^7771000^Left" in slicer.GetMetaData("Segment1_Tags")
    assert slicer.GetMetaData("Segment1_LabelValue") == "4"
    resampled = sitk.Resample(slicer, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    a, b = sitk.GetArrayFromImage(resampled), sitk.GetArrayFromImage(mask)
    assert np.array_equal(a == 1, b == 1) and np.array_equal(a == 4, b == 4)


def test_the_table_has_what_is_measured_of_each_label(project: Project) -> None:
    out = export(project, ["table"])
    row = next(csv.DictReader((out / "table.csv").read_text().splitlines()))
    scan = next(iter(project.scans.values()))
    image, mask = (sitk.ReadImage(str(path)) for path in (scan.source, scan.mask))
    inside = sitk.GetArrayFromImage(mask) == 1
    volume = inside.sum() * np.prod(mask.GetSpacing()) / 1000
    assert (row["label"], row["value"]) == ("liver", "1")
    assert float(row["volume ml"]) == pytest.approx(volume, abs=1e-3)
    grey = sitk.GetArrayFromImage(image)[inside]
    assert float(row["median"]) == pytest.approx(np.median(grey), abs=1e-3)
    places = [mask.TransformIndexToPhysicalPoint(i[::-1].tolist()) for i in np.argwhere(inside)]
    centre = np.mean(places, axis=0) * (-1, -1, 1)
    found = [float(row[f"centre {axis} mm"]) for axis in "RAS"]
    np.testing.assert_allclose(found, centre, atol=0.01)
