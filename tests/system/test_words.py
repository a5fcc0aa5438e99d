"""Numbers in sentences: one thing is never called "1 things"."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dpcenet
from dpcenet.system.words import counted

SOURCES = Path(dpcenet.__file__).parent
COUNT_AND_PLURAL = re.compile(r"\{len\([^{}]*\)(?::,)?\} (?:[a-z]+ )?[a-z]+s\b(?!\()")
SEVERAL = (
    "{len(line):,} bytes",
    "{len(seen)} scans",
    "{len(uids)} in its",
    "{len(names)} series",
    "{len(channels)} channels",
    "{len(fitting)} of {len(names)} volumes",
    "{len(masks)} segmentations in",
    "{len(names)} organs",
    "{len(names)} volumes",
)
"""What is only said of two or more."""


@pytest.mark.parametrize(
    ("number", "noun", "plural", "said"),
    [
        (0, "mask", "", "0 masks"),
        (1, "mask", "", "1 mask"),
        (2, "labelled scan", "", "2 labelled scans"),
        (1, "axis", "axes", "1 axis"),
        (12_000, "axis", "axes", "12,000 axes"),
    ],
)
def test_a_noun_follows_its_number(number: int, noun: str, plural: str, said: str) -> None:
    assert counted(number, noun, plural) == said


def test_no_sentence_has_a_count_and_a_plural_of_its_own() -> None:
    found = [
        f"{path.relative_to(SOURCES)}: {match[0]}"
        for path in sorted(SOURCES.rglob("*.py"))
        for match in COUNT_AND_PLURAL.finditer(path.read_text(encoding="utf-8"))
        if not any(match[0] in each for each in SEVERAL)
    ]
    assert not found, "say counted(number, noun): " + "; ".join(found)
