"""Statistics against the definitions, counted out by hand or by enumeration."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from dpcenet.evaluation.report.published import _DPCENET_PAPER, printed
from dpcenet.evaluation.report.statistics import holm, interval_of_mean, paired_p, wins


def test_wilcoxon_is_the_share_of_sign_patterns_as_extreme() -> None:
    one, two = [5.0, 7.5, 9.1, 3.0, 8.0, 6.0], [4.0, 5.2, 9.9, 1.5, 3.1, 5.7]
    differences = np.subtract(one, two)
    ranks = np.abs(differences).argsort().argsort() + 1
    seen = abs((np.sign(differences) * ranks).sum())
    sums = [abs((np.array(signs) * ranks).sum()) for signs in product((-1, 1), repeat=6)]
    assert paired_p(one, two) == pytest.approx(np.mean([s >= seen for s in sums]))
    assert paired_p(one, one) == 1.0
    assert wins(one, two) == 5


def test_holm_by_its_definition() -> None:
    # sorted 0.01·4, 0.02·3, 0.03·2 raised to 0.06, 0.4·1
    assert holm([0.4, 0.01, 0.03, 0.02]) == pytest.approx([0.4, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(0).normal(50, 10, 400)
    low, high = interval_of_mean(values.tolist())
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1)
    assert interval_of_mean(values.tolist()) == (low, high)  # seeded
    assert np.isnan(interval_of_mean([3.0])).all()


def test_faults_of_printed_tables_are_those_that_arithmetic_shows() -> None:
    wrong, twins = set(), set()
    for where, methods in _DPCENET_PAPER.items():
        for name, (*cells, mean) in methods.items():
            if abs(sum(cells) / len(cells) - mean) > 0.011:
                wrong.add((where, name))
            if any(a == b for a, b in pairwise(cells)):
                twins.add((where, name))
    assert wrong == {
        ("sabs-1", "PANet"), ("sabs-1", "ADNet"), ("chaos-2", "PANet"), ("cmr-1", "PANet")
    }  # fmt: skip
    assert twins == {("chaos-2", "Q-Net"), ("chaos-2", "CAT-Net")}
    for where, methods in _DPCENET_PAPER.items():
        for name in methods:
            line = printed(where, name)
            assert line is not None
            assert bool(line.faults) == ((where, name) in wrong | twins)
    line = printed("sabs-1", "PANet")
    assert line is not None and line.faults == ("the columns' mean is 55.88, printed 57.88",)


def test_what_is_only_remembered_is_not_printed() -> None:
    assert printed("chaos-1", "ADNet", own=True) is None
    assert printed("acdc-1", "DPCENet") is None
