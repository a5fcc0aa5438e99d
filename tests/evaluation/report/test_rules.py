"""What a table says of how its numbers were made, in every language."""

from __future__ import annotations

import re

import pytest

from dpcenet.evaluation.report.rules import rules_of
from dpcenet.system.texts import joined, words
from reports import summary


def test_the_rules_in_a_line() -> None:
    rules = {**summary("paper"), "shots": 2, "supports_trained_on": ["s"]}
    assert joined(rules_of(rules)) == (
        "paper (EP1: looks at the query's truth to choose the slices that show the organ); "
        "3 chunks by number; support last, 2 shots; folds disjoint; setting 1; "
        "1 support slice on either side helps; supports seen in training: s"
    )
    assert "chunks" not in joined(rules_of(summary("blind")))
    alone = joined(rules_of({**summary("paper"), "neighbours": 0, "as_volume": True}))
    assert alone.endswith(
        "one support slice alone; answers seen as a volume, outside the paper's protocol"
    )


@pytest.mark.parametrize("protocol", ["paper", "ep2", "blind"])
def test_the_rules_in_chinese(protocol: str) -> None:
    removed = {"rule": "any", "training_slices": 9, "removed_by_any": 4, "removed_by_all": 2}
    rules = {
        **summary(protocol), "shots": 2, "supports_trained_on": ["s"], "without": ["DPCE"],
        "cut": 0.4, "exclusion": removed, "as_volume": True,
    }  # fmt: skip
    line = joined(rules_of(rules), words("zh"))
    assert not re.search(r"[a-z]+ [a-z]+ [a-z]+", line), line
    assert {"9", "4", "2"} <= set(re.findall(r"\d", line)) and "；" in line
