"""The labelled slice beside a slice of a result: the one that the network used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from starlette.testclient import TestClient

from dpcenet.app.beside import labelled_named
from dpcenet.app.project import Project
from dpcenet.app.server import create_app
from dpcenet.app.session import Session
from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import SegmentOptions
from made_scans import quick_segmenter, segment_files

SHAPE, SPACING = (10, 48, 48), (9.0, 6.0, 6.0)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A labelled scan, and the lower part of the same patient, stored from head to feet."""
    place = tmp_path_factory.mktemp("beside")
    image, labels = phantom(1, SHAPE, SPACING)
    (place / "scans").mkdir()
    labelled, query = place / "scans" / "labelled.nii.gz", place / "scans" / "query.nii.gz"
    write(image.data, image.affine, labelled)
    write(labels.data, labels.affine, place / "mask.nii.gz")
    cut = image.data[:7]
    flipped = image.affine.copy()
    flipped[:, 3] += 6 * flipped[:, 0]
    flipped[:, 0] *= -1
    write(cut[::-1], flipped, query)
    project = Project.open(place / "scans", place / "project")
    segmenter = quick_segmenter()
    support = segmenter.support(labelled, place / "mask.nii.gz", [1])
    queries = find_queries([query])
    options = SegmentOptions(project.root / "masks", check=True)
    (outcome,) = segment_files(segmenter, queries, support, options)
    assert outcome.mask is not None, outcome.error
    shutil.copy(place / "mask.nii.gz", project.root / "masks" / "labelled_seg.nii.gz")
    return project


def write(data: np.ndarray, affine: np.ndarray, path: Path) -> None:
    stored = nibabel.Nifti1Image(np.ascontiguousarray(data.T), affine[:, [2, 1, 0, 3]])
    nibabel.save(stored, path)


def matches(project: Project) -> tuple[list[dict[str, Any]], dict[str, str]]:
    ids = {scan.name: scan.id for scan in project.scans.values()}
    with TestClient(create_app(Session(project))) as client:
        for scan in ids.values():
            assert client.get(f"/api/scans/{scan}").status_code == 200
        answer = client.get(f"/api/review/{ids['query']}/matches")
    assert answer.status_code == 200, answer.text
    return answer.json()["scans"], ids


def test_shown_slices_match_the_shown_slices_that_served(segmented: Project) -> None:
    """Both are shown from feet to head, whatever the order in their files: slice z of the query is
    slice z of the labelled scan, of which it is a copy."""
    (match,), ids = matches(segmented)
    assert match["id"] == ids["labelled"]
    assert match["whole"] == list(range(7))
    mask = segmented.root / "masks" / "labelled_seg.nii.gz"
    shows = (np.asarray(nibabel.load(mask).dataobj) == 1).any(axis=(0, 1))
    assert match["labels"] == {"1": [z if shows[z] else None for z in range(7)]}
    assert any(shows[:7]) and not all(shows[:7])


def test_a_folder_of_an_older_version_has_no_matches(segmented: Project) -> None:
    path = segmented.root / "masks" / "review" / "query.json"
    kept = path.read_text()
    old = json.loads(kept)
    del old["matches"]
    path.write_text(json.dumps(old))
    try:
        assert matches(segmented)[0] == []
    finally:
        path.write_text(kept)


def test_a_labelled_scan_that_the_folder_lacks_is_left_out(segmented: Project) -> None:
    path = segmented.root / "masks" / "review" / "query.json"
    kept = path.read_text()
    path.write_text(kept.replace("labelled.nii.gz", "elsewhere.nii.gz"))
    try:
        assert matches(segmented)[0] == []
    finally:
        path.write_text(kept)


def test_a_scan_is_known_by_the_end_of_its_path(segmented: Project) -> None:
    scans = list(segmented.scans.values())
    whole = str(segmented.folder / "query.nii.gz")
    for given in (whole, "query.nii.gz", "scans/query.nii.gz"):
        found = labelled_named(scans, given)
        assert found is not None and found.name == "query"
    for given in ("other/query.nii.gz", "/query.nii.gz", "scans"):
        assert labelled_named(scans, given) is None
