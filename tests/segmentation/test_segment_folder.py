"""From files to masks and a review."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation import labelled_input
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.review import quality
from dpcenet.segmentation.review.calibration import shipped_calibration
from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.segmentation.segment_folder import SegmentLocation, segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.parallel import in_turn
from made_scans import quick_segmenter, write_scans


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledInput:
    """Two scans, the first one labelled; segmented by `copy`, which needs no weights."""
    monkeypatch.setattr(
        labelled_input.Segmenter, "shipped", staticmethod(lambda *_: quick_segmenter())
    )
    assert isinstance(Segmenter.shipped(), Segmenter)
    ((image, mask), _) = write_scans(tmp_path / "scans", 2)
    return LabelledInput((image,), (mask,), labels=(1,))


def test_the_review_holds_the_cases_of_this_call(labelled: LabelledInput, tmp_path: Path) -> None:
    options = SegmentOptions(tmp_path / "out", check=True)
    scans = [tmp_path / "scans"]
    both = segment_folder(scans, labelled, options, labelled_too=True, quiet=True)
    assert both.asked == 2 and [o.query.name for o in both.outcomes] == ["image_01", "image_02"]
    assert both.review == tmp_path / "out" / "review.html" and both.doubtful <= 2
    one = segment_folder([tmp_path / "scans" / "image_02.nii.gz"], labelled, options, quiet=True)
    assert one.asked == 1 and one.outcomes[0].skipped
    (row,) = csv.DictReader((tmp_path / "out" / "review.csv").read_text().splitlines())
    assert (row["case"], row["label next"]) == ("image_02", "1")


def test_a_copy_of_the_labelled_scan_is_left_aside_in_whatever_format(
    labelled: LabelledInput, tmp_path: Path
) -> None:
    """Under another name, in another type and array order; one voxel or its place makes it new."""
    image = nibabel.load(labelled.images[0])
    data, affine = np.asanyarray(image.dataobj), image.affine
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = data.shape[0] - 1
    other, moved = data.copy(), affine.copy()
    other[3, 4, 5] += 1
    moved[0, 3] += 5
    folder = tmp_path / "more"
    folder.mkdir()
    for name, voxels, place in (
        ("copy.nii", data.astype(np.float64), affine),
        ("flipped.nii.gz", data[::-1], affine @ flip),
        ("other.nii", other, affine),
        ("moved.nii", data, moved),
    ):
        nibabel.save(nibabel.Nifti1Image(voxels, place), folder / name)
    done = segment_folder([folder], labelled, SegmentOptions(tmp_path / "out"), quiet=True)
    assert {o.query.name: o.aside for o in done.outcomes} == {
        "copy": True,
        "flipped": True,
        "moved": False,
        "other": False,
    }
    said = [outcome.error for outcome in done.outcomes if outcome.aside]
    assert all("the same scan as" in text and "--labelled-too" in text for text in said)
    assert sorted(path.name for path in (tmp_path / "out").glob("*_seg.nii")) == [
        "moved_seg.nii",
        "other_seg.nii",
    ]
    for scans, too in (([folder], True), ([folder / "copy.nii"], False)):
        options = SegmentOptions(tmp_path / str(too))
        asked = segment_folder(scans, labelled, options, labelled_too=too, quiet=True)
        assert not any(outcome.aside for outcome in asked.outcomes)
        assert (tmp_path / str(too) / "copy_seg.nii").exists()


def test_voxels_of_labelled_scans_are_not_hashed_where_no_copy_is_looked_for(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(data: object) -> str:
        raise AssertionError("voxels were hashed")

    monkeypatch.setattr("dpcenet.volumes.same_scan.voxels_digest", look)
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(labelled.images[0].read_bytes())
    done = segment_folder([copy], labelled, SegmentOptions(tmp_path / "out"), quiet=True)
    assert [outcome.query.name for outcome in done.outcomes] == ["copy"]
    assert not done.outcomes[0].error


def test_the_labelled_scan_is_not_suggested_again(labelled: LabelledInput, tmp_path: Path) -> None:
    options = SegmentOptions(tmp_path, check=True)
    scans = [tmp_path / "scans"]
    segment_folder(scans, labelled, options, labelled_too=True, quiet=True)
    rows = csv.DictReader((tmp_path / "review.csv").read_text().splitlines())
    assert {row["case"]: row["label next"] for row in rows} == {"image_01": "", "image_02": "1"}


def test_another_dice_is_asked_for_without_segmenting_again(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = hash_of_state(quick_segmenter().predictor.method)
    calibration = replace(shipped_calibration(), weights=weights)
    monkeypatch.setattr(quality, "shipped_calibration", lambda: calibration)
    out = tmp_path / "out"
    flags = {}
    for asked in (0.5, 1.0):
        options = SegmentOptions(out, check=True, accept_dice=asked)
        done = segment_folder(labelled.images, labelled, options, quiet=True)
        (row,) = csv.DictReader((out / "review.csv").read_text().splitlines())
        flags[asked] = row["flag"]
        assert f"at least {asked:.2f} Dice" in row["accept means"] == done.accept_means
        assert done.accepted == 1 - done.doubtful == (row["flag"] == "accept")
        assert json.loads((out / "segment.json").read_text())["accept_dice"] == asked
        (kept,) = read_cases(out)
        assert [(q.flag, q.accept_dice) for q in kept.labels.values()] == [(row["flag"], asked)]
    assert done.outcomes[0].skipped
    assert flags == {0.5: "accept", 1.0: "look"}


def test_no_check_no_review(labelled: LabelledInput, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = segment_folder([tmp_path / "scans"], labelled, SegmentOptions(out), quiet=True)
    assert (done.asked, done.review, done.doubtful) == (1, None, 0)
    assert not (out / "review.csv").exists()


@pytest.mark.parametrize("check", [True, False])
def test_statistics_are_written_with_and_without_the_check(
    labelled: LabelledInput, tmp_path: Path, check: bool
) -> None:
    out = tmp_path / "out"
    scans = [tmp_path / "scans"]
    options = SegmentOptions(out, check=check)
    segment_folder(scans, labelled, options, labelled_too=True, quiet=True)
    rows = list(csv.DictReader((out / "statistics.csv").read_text().splitlines()))
    assert [(row["case"], row["value"]) for row in rows] == [("image_01", "1"), ("image_02", "1")]
    assert [bool(row["flag"]) for row in rows] == [check, check]
    mask = nibabel.load(out / "image_02_seg.nii.gz")
    inside = np.asarray(mask.dataobj) == 1
    volume = inside.sum() * abs(np.linalg.det(mask.affine)) / 1000
    assert float(rows[1]["volume ml"]) == pytest.approx(volume, abs=1e-3)
    grey = nibabel.load(tmp_path / "scans" / "image_02.nii.gz").get_fdata()[inside]
    found = [float(rows[1][name]) for name in ("mean", "sd", "p5", "median")]
    wanted = [grey.mean(), grey.std(), np.percentile(grey, 5), np.median(grey)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    cases = json.loads((out / "statistics.json").read_text())["cases"]
    assert cases[1]["labels"][0]["mean"] == found[0] and cases[1]["mask"] == "image_02_seg.nii.gz"

    # A person empties the mask but for one voxel: the next call measures what is there now.
    one = np.zeros(mask.shape, np.uint8)
    one[3, 4, 5] = 1
    nibabel.save(nibabel.Nifti1Image(one, mask.affine), out / "image_02_seg.nii.gz")
    segment_folder(scans, labelled, options, labelled_too=True, quiet=True)
    first, second = csv.DictReader((out / "statistics.csv").read_text().splitlines())
    assert first["made by"] == "dpcenet" and first["mean"] == rows[0]["mean"]
    assert (second["made by"], second["voxels"], second["flag"]) == ("a person", "1", "")
    place = nibabel.affines.apply_affine(mask.affine, [3, 4, 5])
    assert [float(second[f"centre {axis} mm"]) for axis in "RAS"] == pytest.approx(place, abs=0.001)


def test_workers_of_a_cluster_get_absolute_paths(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = SegmentOptions(Path("out"))
    done = segment_folder(
        ["scans"],
        labelled,
        options,
        location=SegmentLocation(in_turn),
        labelled_too=True,
        quiet=True,
    )
    masks = [outcome.mask for outcome in done.outcomes]
    assert masks == [tmp_path / "out" / f"image_0{n}_seg.nii.gz" for n in (1, 2)]
    assert all(mask.is_file() for mask in masks if mask)


def test_nothing_to_segment_takes_no_processes(labelled: LabelledInput, tmp_path: Path) -> None:
    """The only scan that is named is the mask of the labelled scan, which is never segmented."""
    options = SegmentOptions(tmp_path / "out", check=True)
    done = segment_folder(labelled.masks, labelled, options, jobs=2, quiet=True)
    assert (done.asked, done.outcomes, done.review) == (0, (), None)
