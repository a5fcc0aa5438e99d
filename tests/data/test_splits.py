"""Folds in their three written forms, against the lists of the official code; Setting 2's rules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.datasets import acdc, chaost2, cmr, sabs
from dpcenet.data.datasets.spec import DatasetSpec
from dpcenet.data.splits import admissible_slices, count_excluded, divide, make_fold
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.volumes.io import read_volume

# As the official code lists them; the last fold wraps around to the first scan.
CHAOS = (
    ("01", "02", "03", "05", "08"),
    ("08", "10", "13", "15", "19"),
    ("19", "20", "21", "22", "31"),
    ("31", "32", "33", "34", "36"),
    ("36", "37", "38", "39", "01"),
)


def fold_of(spec: DatasetSpec, index: int, scheme: str, without: tuple[str, ...] = ()):
    cases = [case for case in spec.cases if case not in without]
    return make_fold(cases, index, scheme, 5, spec.folds, spec.subjects)


@pytest.mark.parametrize("index", range(5))
def test_lineage_folds_of_chaos(index: int) -> None:
    fold = fold_of(chaost2.SPEC, index, "lineage")
    assert fold.test == CHAOS[index]
    assert len(fold.train) == 15 and not set(fold.train) & set(fold.test)
    ((support, queries),) = fold.pairs("last")
    assert support == ("08", "19", "31", "36", "01")[index]  # SSL-ALPNet
    assert queries == CHAOS[index][:4]


@pytest.mark.parametrize("index", range(5))
def test_official_order_of_chaos(index: int) -> None:
    """Sorted: in fold 4 the wrapped scan 01 comes first and is a query."""
    fold = fold_of(chaost2.SPEC, index, "official")
    assert fold.test == tuple(sorted(CHAOS[index]))
    assert fold.pairs("last")[0][0] == ("08", "19", "31", "36", "39")[index]  # ADNet
    assert fold.pairs("2")[0][0] == ("03", "13", "21", "33", "37")[index]  # Q-Net, RPT, GMRD
    assert ("01" in fold.pairs("last")[0][1]) == (index in (0, 4))


def test_folds_of_sabs_and_cmr_are_the_official_ranges() -> None:
    for spec, width in ((sabs.SPEC, 6), (cmr.SPEC, 7)):
        for index in range(5):
            fold = fold_of(spec, index, "lineage")
            places = [spec.cases.index(case) for case in fold.test]
            expected = [n % len(spec.cases) for n in range(index * width, (index + 1) * width + 1)]
            assert places == expected
            assert len(fold.train) == {30: 23, 35: 27}[len(spec.cases)]
    assert [cmr.SPEC.cases.index(c) + 1 for c in fold_of(cmr.SPEC, 4, "lineage").test] == [
        *range(29, 36),
        1,
    ]


@pytest.mark.parametrize(
    "spec", [chaost2.SPEC, sabs.SPEC, cmr.SPEC, acdc.SPEC], ids=lambda s: s.name
)
def test_disjoint_queries_each_scan_once(spec: DatasetSpec) -> None:
    queried = []
    for index in range(5):
        fold = fold_of(spec, index, "disjoint")
        ((support, queries),) = fold.pairs("last")
        queried += queries
        assert support not in queries
        assert not set(fold.train) & {support, *queries}
    assert sorted(queried) == list(spec.cases)


def test_neighbours_of_lineage_folds_share_a_scan_and_its_support_is_never_queried() -> None:
    folds = [fold_of(chaost2.SPEC, index, "lineage") for index in range(5)]
    shared = [len(set(a.test) & set(b.test)) for a, b in combinations(folds, 2)]
    assert sorted(shared) == [0] * 5 + [1] * 5
    queries = [case for fold in folds for case in fold.pairs("2")[0][1]]
    assert len(queries) == 20 and len(set(queries)) == 15  # five scans twice, five never


def test_frames_of_a_patient_never_part() -> None:
    diseases = set()
    for scheme in ("disjoint", "lineage", "official"):
        for index in range(5):
            fold = fold_of(acdc.SPEC, index, scheme)
            tested = {case[:10] for case in fold.test}
            assert not tested & {case[:10] for case in fold.train}
            diseases.add(tuple(np.bincount([(int(p[7:]) - 1) // 20 for p in tested]).tolist()))
    # 20 patients of five diseases, 4 of each, and the next block's first patient (disease 0).
    assert diseases == {(5, 4, 4, 4, 4)}


def test_all_supports_take_turns() -> None:
    pairs = fold_of(chaost2.SPEC, 0, "lineage").pairs("all")
    assert [support for support, _ in pairs] == list(CHAOS[0])
    for support, queries in pairs:
        assert queries == tuple(case for case in CHAOS[0] if case != support)


def test_several_shots() -> None:
    lineage = fold_of(chaost2.SPEC, 0, "lineage")
    assert lineage.support_sets("last", 2) == [(("08", "01"), ("02", "03", "05"))]
    assert lineage.support_sets("1", 3) == [(("02", "03", "05"), ("01", "08"))]
    assert len(lineage.support_sets("all", 4)) == 5
    disjoint = fold_of(chaost2.SPEC, 4, "disjoint")
    assert disjoint.support_sets("last", 2) == [(("01", "02"), ("36", "37", "38", "39"))]
    assert "02" in disjoint.train and "01" not in disjoint.train
    for fold, shots in ((lineage, 5), (disjoint, 17), (lineage, 0)):
        with pytest.raises(ConfigError, match=f"--shots {shots}"):
            fold.support_sets("last", shots)


def test_what_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match="fold 5"):
        fold_of(chaost2.SPEC, 5, "disjoint")
    with pytest.raises(ConfigError, match=r"support '7'"):
        fold_of(chaost2.SPEC, 0, "lineage").pairs("7")
    with pytest.raises(DatasetError, match="3 cases"):
        divide(["a", "b", "c"], 3)
    with pytest.raises(ConfigError, match="has 5 written down"):
        divide(chaost2.SPEC.cases, 4, chaost2.SPEC.folds)
    with pytest.raises(DatasetError, match="fold 0: none of its cases"):
        fold_of(chaost2.SPEC, 0, "disjoint", without=CHAOS[0][:4])


def test_a_missing_case_does_not_move_the_others() -> None:
    fold = fold_of(chaost2.SPEC, 1, "disjoint", without=("01", "10"))
    assert fold.test == ("08", "13", "15", "19")


def test_rules_of_setting_2() -> None:
    label = np.zeros((4, 2, 2), np.uint8)
    label[1, 0, 0] = label[2, 0, 0] = 1
    label[2, 1, 1] = label[3, 1, 1] = 4
    assert admissible_slices(label, (1, 4), "any").tolist() == [True, False, False, False]
    assert admissible_slices(label, (1, 4), "all").tolist() == [True, True, False, True]
    assert admissible_slices(label, ()).all()
    counted = count_excluded([label, label], (1, 4))
    assert (counted.slices, counted.any_removed, counted.all_removed) == (8, 6, 2)
    assert counted.any_removed - counted.all_removed == 4


def test_counts_on_the_real_scans(real_scans: Callable[[str], Path]) -> None:
    """What each rule removes from CHAOS, and what the rule "all" lets through."""
    folder = real_scans("chaos_t2spir")
    labels = [read_volume(path).volume.data for path in sorted(folder.glob("label_*.nii.gz"))]
    expected = {
        (2, 3): (324, 261, 63),
        (1, 4): (463, 272, 191),
        (1, 2, 3, 4): (558, 88, 470),
    }
    for excluded, (by_any, by_all, leaks) in expected.items():
        counted = count_excluded(labels, excluded)
        assert counted.slices == 718
        assert (counted.any_removed, counted.all_removed) == (by_any, by_all)
        assert counted.any_removed - counted.all_removed == leaks


def test_real_scans_are_the_cases_of_the_folds(real_scans: Callable[[str], Path]) -> None:
    from dpcenet.data.datasets.lineage import CHAOST2

    found = CHAOST2.find(real_scans("chaos_t2spir"))
    assert tuple(case.name for case in found.cases) == CHAOST2.cases
    assert all(case.label is not None for case in found.cases)
