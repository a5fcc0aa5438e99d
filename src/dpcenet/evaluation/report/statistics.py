"""What a table says about its numbers: intervals, tests between methods, and who wins.

The unit is a case: its scores of several seeds, supports and folds are averaged first, because
they are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

DRAWS = 10_000
LEVEL = 0.95
SIGNIFICANT = 0.05


def interval_of_mean(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean.

    Returns:
        low and high; NaN where there are fewer than two values.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    found = stats.bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=DRAWS,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_p(one: Sequence[float], two: Sequence[float]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test of pairs.

    Exact for few cases without ties: with n of them it cannot be below 2 / 2ⁿ.
    """
    differences = np.asarray(one, dtype=float) - np.asarray(two, dtype=float)
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of several tests, in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    steps = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    corrected = np.empty(len(order))
    corrected[order] = steps
    return corrected.tolist()


def wins(one: Sequence[float], two: Sequence[float]) -> int:
    """In how many pairs the first is larger."""
    return sum(a > b for a, b in zip(one, two, strict=True))


def common_cases(
    one: Mapping[str, float], two: Mapping[str, float]
) -> tuple[list[float], list[float]]:
    """Values of the cases that both methods have, in the same order."""
    cases = [case for case in one if case in two]
    return [one[case] for case in cases], [two[case] for case in cases]


def p_against(values: Mapping[str, Mapping[str, float]], reference: str) -> dict[str, float]:
    """Corrected p of every other method against one, over the cases that both have.

    Args:
        values: method → case → Dice.
        reference: one of the methods.
    """
    others = [name for name in values if name != reference]
    p_values = [paired_p(*common_cases(values[name], values[reference])) for name in others]
    return dict(zip(others, holm(p_values), strict=True))
