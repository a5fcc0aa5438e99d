"""The review list and its page."""

from __future__ import annotations

import base64
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError
from dpcenet.segmentation.review.calibration import fit
from dpcenet.segmentation.review.quality import judge, nothing_found
from dpcenet.segmentation.review.review_page import (
    Reviewed,
    read_cases,
    review_case,
    save_case,
    write_review,
)
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.review.thumbnails import picture
from dpcenet.segmentation.segmenter import Segmenter
from samples import GOOD, like_good, made_samples

CALIBRATION = fit(made_samples(50, seed=0), "", "")
ADDRESS = picture(np.zeros((1, 8, 8), np.float32), np.ones((1, 8, 8), bool))


def made_case(name: str, place: float, **changes: float) -> Reviewed:
    """A case with a good liver and a spleen as good as said."""
    spleen = judge(like_good(**changes), CALIBRATION) if changes else nothing_found()
    return Reviewed(
        name,
        f"{name}_seg.nii.gz",
        {"liver": judge(GOOD, CALIBRATION), "spleen": spleen},
        {"liver": ADDRESS},
        (float(np.cos(place)), float(np.sin(place))),
    )


CASES = [
    made_case("good", 0.1, confidence=0.94),
    made_case("missed", 1.0),
    made_case("a/doubtful <b>", 1.1, confidence=0.4, volume_ratio=3.0),
]
LABELLED = [np.array([1.0, 0.0])]


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "review.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_list_ranks_doubtful_cases_first(tmp_path: Path) -> None:
    write_review(tmp_path, CASES, LABELLED)
    rows = rows_of(tmp_path)
    assert [(row["rank"], row["case"], row["label"]) for row in rows] == [
        ("1", "missed", "spleen"),
        ("1", "missed", "liver"),
        ("2", "a/doubtful <b>", "spleen"),
        ("2", "a/doubtful <b>", "liver"),
        ("3", "good", "spleen"),
        ("3", "good", "liver"),
    ]
    assert rows[0]["flag"] == "reject" and rows[0]["reasons"] == "nothing was found"
    assert rows[0]["mask"] == "missed_seg.nii.gz" and rows[0]["volume ml"] == "0.0"
    doubtful = CASES[2].labels["spleen"]
    assert float(rows[2]["predicted dice"]) == round(doubtful.dice, 3)
    assert "3.0 times the labelled volume" in rows[2]["reasons"]
    assert {row["case"]: row["label next"] for row in rows}["good"] == "3"


def test_labelled_cases_are_not_suggested(tmp_path: Path) -> None:
    write_review(tmp_path, CASES, LABELLED, labelled_cases=["missed"])
    suggested = {row["case"]: row["label next"] for row in rows_of(tmp_path)}
    assert suggested == {"missed": "", "a/doubtful <b>": "1", "good": "2"}


def test_the_page_stands_alone_and_says_what_it_is(tmp_path: Path) -> None:
    page = write_review(tmp_path, CASES, LABELLED).read_text()
    assert "For research only" in page and "not a medical device" in page
    assert "calibrated for other weights" not in page
    assert "a/doubtful &lt;b&gt;" in page and "doubtful <b>" not in page  # names are escaped
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 3 and all(s.startswith("data:image/jpeg;base64,") for s in sources)
    assert page.index("1. missed") < page.index("3. good")


def test_the_page_says_where_the_numbers_do_not_hold(tmp_path: Path) -> None:
    other = replace(
        CASES[0], labels={k: replace(q, calibrated=False) for k, q in CASES[0].labels.items()}
    )
    assert "calibrated for other weights" in write_review(tmp_path, [other], LABELLED).read_text()


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_runs_no_name_as_a_formula(tmp_path: Path, start: str) -> None:
    write_review(tmp_path, [replace(CASES[1], case=f"{start}cmd()")], LABELLED)
    assert {row["case"] for row in rows_of(tmp_path)} == {f"'{start}cmd()"}


def test_cases_are_kept_for_a_run_that_goes_on(tmp_path: Path) -> None:
    assert read_cases(tmp_path) == []
    for case in CASES:
        save_case(tmp_path, case)
    assert read_cases(tmp_path) == [CASES[2], CASES[0], CASES[1]]  # by name


@pytest.mark.parametrize("content", ["{", "[]", '{"case": "one"}'])
def test_a_damaged_case_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "one.json").write_text(content)
    with pytest.raises(ConfigError, match=r"one\.json: not a case of a review"):
        read_cases(tmp_path)


def test_a_case_of_a_segmenter(copier: Segmenter, tmp_path: Path) -> None:
    image, labels = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    support = replace(copier.support(image, labels, [1, 3]), names={1: "liver"})
    found = copier.find(image, support)
    case = review_case(copier, support, found, "one", "one_seg.nii.gz")
    assert list(case.labels) == ["liver", "3"] and set(case.pictures) == {"liver", "3"}
    np.testing.assert_allclose(
        case.signature, support_signatures(copier.predictor.method, support)[0], atol=1e-4
    )
    save_case(tmp_path, case)
    assert read_cases(tmp_path) == [case]


def test_the_picture_shows_the_largest_slice_with_its_outline() -> None:
    image = np.zeros((3, 32, 32), np.float32)
    image[1] = np.linspace(-1, 1, 32)[:, None]
    mask = np.zeros(image.shape, bool)
    mask[0, 4:6, 4:6] = mask[1, 8:24, 8:24] = True
    content = base64.b64decode(picture(image, mask).split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert pixels.shape == (32, 32, 3)
    blueness = pixels[..., 2] - pixels[..., 0]
    assert blueness[8, 16] > 100 and blueness[16, 8] > 100  # on the outline
    assert 20 < blueness[16, 16] < 100  # inside
    assert abs(blueness[2, 2]) < 20 and abs(blueness[29, 16]) < 20  # outside
    assert pixels[29, 2].mean() > pixels[2, 2].mean() + 150  # the ramp of slice 1
