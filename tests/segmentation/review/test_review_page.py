"""The review list and its page."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcenet.segmentation.review.review_page import write_review
from samples import made_case

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


def test_what_accept_means_stands_in_the_list_and_on_the_page(tmp_path: Path) -> None:
    page = write_review(tmp_path, [case.asking(0.75) for case in CASES], LABELLED).read_text()
    words = "at least 0.75 Dice is expected in 9 of 10 such cases"
    assert words in page
    assert {row["accept means"] for row in rows_of(tmp_path)} == {words}


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
