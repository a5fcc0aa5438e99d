"""The texts of written pages: the same ones in every language, and sentences found again."""

from __future__ import annotations

import re

import pytest

from dpcenet.system.texts import LANGUAGES, PARTS, said, words, words_of
from shown_texts import CHINESE

NO_WORDS = {"summary.stop", "list", "caption.budget", "note.seeds", "review.dice", "review.volume"}
"""Marks, numbers and units."""


def test_both_languages_say_the_same_things() -> None:
    """The same keys but for the terms, which are heads of columns; the same blanks filled in."""
    english, chinese = words("en"), words("zh")
    terms = [[k for k in each if k.startswith("term.")] for each in (english, chinese)]
    assert len(terms[0]) == len(terms[1])
    rest = english.keys() - set(terms[0])
    assert rest == chinese.keys() - set(terms[1])
    for key in rest:
        blanks = [sorted(re.findall(r"\{(\w+)\}", each[key])) for each in (english, chinese)]
        assert blanks[0] == blanks[1], key
        assert key in NO_WORDS or re.search(CHINESE, chinese[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_takes_the_place_of_another_part(language: str) -> None:
    assert len(words(language)) == sum(len(words_of(part, language)) for part in PARTS)


def test_a_sentence_is_found_with_its_values() -> None:
    assert said("in 3 parts", words("zh")) == "分为 3 块"
    assert said("in 3 parts", words("en")) == "in 3 parts"
    assert said("3.0 times the labelled volume", words("zh")) == "为标注体积的 3.0 倍"


def test_a_sentence_in_a_sentence_is_found() -> None:
    why = "few values below 0, so no Hounsfield units, padding of -2000 left out"
    sentence = f"taken for CT like the labelled scan, but it looks like MR: {why}"
    assert said(sentence, words("zh")) == (
        "与标注影像一样按 CT 处理，但看起来像 MR：低于 0 的值很少，因此不是 HU 值，不计填充值 -2000"
    )


def test_what_is_no_text_stays() -> None:
    assert said("written by another version", words("zh")) == "written by another version"
