"""Statistics against the definitions, counted out by hand or by enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dpcenet.evaluation.report.statistics import (
    common_cases,
    holm,
    interval_of_mean,
    p_against,
    paired_p,
    wins,
)


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


def test_methods_are_compared_over_the_cases_that_both_have() -> None:
    values = {
        "a": {"x": 5.0, "y": 7.5, "z": 9.1, "only a": 99.0},
        "b": {"z": 1.0, "x": 2.0, "y": 4.0},
        "c": {"x": 5.0, "y": 7.5, "z": 9.1},
    }
    assert common_cases(values["a"], values["b"]) == ([5.0, 7.5, 9.1], [2.0, 4.0, 1.0])
    # three differences of one sign: p = 2 / 2³, and the smallest of two tests counts twice
    assert p_against(values, "a") == pytest.approx({"b": 0.5, "c": 1.0})
