"""The contact sheet: its counts are the data's, and its pictures show labels and borders."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcenet.data.contact_sheet import (
    COLOURS,
    count_labels,
    with_edges,
    with_labels,
    write_contact_sheet,
)
from dpcenet.data.store import open_dataset
from made import write_prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"))


def test_counts_are_those_of_the_arrays(data: Path) -> None:
    dataset = open_dataset(data)
    rows = count_labels(dataset)
    assert [row["case"] for row in rows] == [case.name for case in dataset.cases]
    assert [row["fold"] for row in rows] == [0, 1, 2, 2, 3, 4, 4]  # 7 cases in 5 blocks
    for row, case in zip(rows, dataset.cases, strict=True):
        assert row["slices"] == 9 and row["supervoxels"] == 4
        for value in dataset.labels:
            mask = np.asarray(case.label) == value
            assert row["label_slices"][value] == 6 == len(np.unique(np.nonzero(mask)[0]))
            assert row["label_ml"][value] == pytest.approx(mask.sum() * 5 * 1.5 * 1.5 / 1000)


def test_the_page_holds_every_case_and_stands_alone(data: Path, tmp_path: Path) -> None:
    page = write_contact_sheet(open_dataset(data), tmp_path, slices=3).read_text()
    assert page.count("data:image/png;base64,") == 7
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "<tr><td>2</td><td>2</td><td>18</td><td>12</td><td>12</td></tr>" in page  # a fold of two
    for name in ("case0", "case6", "liver", "kidney", "For research only"):
        assert name in page
    with Image.open(tmp_path / "contact.png") as sheet:
        assert sheet.size == (3 * 32, 7 * (2 * 32 + 4))


def test_the_same_data_give_the_same_files(data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(data)
    one, two = (write_contact_sheet(dataset, tmp_path / name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_unlabelled_data_have_a_sheet_too(tmp_path: Path) -> None:
    data = write_prepared(tmp_path / "data", count=2, labelled=False)
    page = write_contact_sheet(open_dataset(data), tmp_path / "out").read_text()
    assert "case1" in page and "<td>–</td>" in page  # two cases make no folds


def test_labels_are_tinted_and_the_rest_stays_grey() -> None:
    grey = np.full((4, 4), 100.0)
    label = np.zeros((4, 4), np.uint8)
    label[1, 2] = 2
    picture = with_labels(grey, label)
    np.testing.assert_array_equal(picture[1, 2], (50 + 0.5 * COLOURS[1]).astype(np.uint8))
    picture[1, 2] = 100
    assert (picture == 100).all()


def test_borders_lie_between_segments() -> None:
    segments = np.ones((5, 6), int)
    segments[:, 3:] = 2
    edge = (with_edges(np.zeros((5, 6)), segments) == COLOURS[0]).all(axis=-1)
    expected = np.zeros((5, 6), bool)
    expected[:, 2:4] = True
    np.testing.assert_array_equal(edge, expected)
