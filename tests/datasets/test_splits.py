"""Folds in their three written forms, and the slices of Setting 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.datasets.splits import admissible_slices, make_fold
from dpcenet.errors import ConfigError, DatasetError

CHAOS = ["01", "02", "03", "05", "08", "10", "13", "15", "19", "20"]
CHAOS += ["21", "22", "31", "32", "33", "34", "36", "37", "38", "39"]


def test_lineage_folds_are_the_published_ones() -> None:
    expected = {
        0: ["01", "02", "03", "05", "08"],
        1: ["08", "10", "13", "15", "19"],
        2: ["19", "20", "21", "22", "31"],
        3: ["31", "32", "33", "34", "36"],
        4: ["36", "37", "38", "39", "01"],
    }
    for index, members in expected.items():
        fold = make_fold(CHAOS, index, "lineage")
        assert list(fold.test) == members and len(fold.train) == 15
        assert not set(fold.train) & set(fold.test)


@pytest.mark.parametrize(("count", "train"), [(20, 15), (30, 23), (35, 27)])
def test_lineage_trains_on_as_many_scans_as_published(count: int, train: int) -> None:
    names = [str(n) for n in range(count)]
    assert {len(make_fold(names, index, "lineage").train) for index in range(5)} == {train}


def test_support_scans_of_the_lineages() -> None:
    last = [make_fold(CHAOS, i, "lineage").pairs("last")[0][0] for i in range(5)]
    assert last == ["08", "19", "31", "36", "01"]
    official = [make_fold(CHAOS, i, "official").pairs("last")[0][0] for i in range(5)]
    assert official == ["08", "19", "31", "36", "39"]
    third = [make_fold(CHAOS, i, "official").pairs("2")[0][0] for i in range(5)]
    assert third == ["03", "13", "21", "33", "37"]


def test_disjoint_folds_query_each_scan_once() -> None:
    queries: list[str] = []
    for index in range(5):
        fold = make_fold(CHAOS, index)
        for support, theirs in fold.pairs("all"):
            assert support not in fold.train and support not in theirs
            queries += theirs
    assert sorted(queries) == sorted(CHAOS)


def test_wrong_folds_and_supports_are_named() -> None:
    with pytest.raises(ConfigError, match="choose 0…4"):
        make_fold(CHAOS, 5)
    with pytest.raises(DatasetError, match="need at least 6"):
        make_fold(CHAOS[:5], 0)
    with pytest.raises(ConfigError, match="first, last, all"):
        make_fold(CHAOS, 0, "lineage").pairs("5")


def test_any_and_all_rules() -> None:
    label = np.zeros((4, 2, 2), np.uint8)
    label[1, 0, 0], label[2, 0, 0], label[2, 1, 1], label[3, 1, 1] = 1, 1, 2, 2
    assert admissible_slices(label, []).tolist() == [True] * 4
    assert admissible_slices(label, [1, 2], "any").tolist() == [True, False, False, False]
    assert admissible_slices(label, [1, 2], "all").tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("excluded", "any_rule", "all_rule"),
    [((2, 3), 324, 261), ((1, 4), 463, 272), ((1, 2, 3, 4), 558, 88)],
)
def test_counts_on_the_real_scans(
    real_scans: Callable[[str], Path], excluded: tuple[int, ...], any_rule: int, all_rule: int
) -> None:
    removed = {"any": 0, "all": 0}
    for path in sorted(real_scans("chaos_t2spir").glob("label_*.nii.gz")):
        label = np.asarray(nibabel.load(path).dataobj).T.astype(np.uint8)
        for rule in removed:
            removed[rule] += int((~admissible_slices(label, excluded, rule)).sum())
    assert removed == {"any": any_rule, "all": all_rule}
