"""Rows, their means, and the line that says how they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpcenet.errors import ConfigError
from dpcenet.evaluation.scores import (
    percent_dice,
    read_scores,
    scores_of,
    summarise,
    write_scores,
)
from reports import score

ROWS = [
    score("a", "c1", "liver", 0.1, fold=-1, seed=3, hd95_mm=float("inf")),
    score("a", "c2", "liver", 1 / 3, support="s+t"),
    score("a", "c1", "spleen", 0.9),
    score("copy", "c1", "liver", 0.4),
]


def test_scores_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.csv", ROWS)
    assert read_scores(tmp_path / "scores.csv") == ROWS


@pytest.mark.parametrize("text", [None, "method,case\na,b\n"])
def test_other_files_are_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="not a scores file"):
        read_scores(path)


def test_a_method_without_scores_of_its_own_has_those_of_copy() -> None:
    assert scores_of(ROWS, "a") == ROWS[:3] and scores_of(ROWS, "copy/plain") == ROWS[3:]
    assert percent_dice(ROWS[:3]) == pytest.approx(100 * np.mean([0.1, 1 / 3, 0.9]))


def test_means_over_cases_and_over_labels() -> None:
    found = summarise([*ROWS[1:3], score("a", "c3", "liver", 0.5)])
    liver = [1 / 3, 0.5]
    assert found["liver"]["cases"] == 2 and found["liver"]["dice"] == pytest.approx(np.mean(liver))
    assert found["liver"]["dice_sd"] == pytest.approx(np.std(liver, ddof=1))
    assert found["spleen"]["dice_sd"] == 0
    assert found["mean"]["dice"] == pytest.approx((np.mean(liver) + 0.9) / 2)
    assert summarise([]) == {}
