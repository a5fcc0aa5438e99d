"""The Chinese review says nothing in English, and the English one nothing in Chinese."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcenet.segmentation.review.quality import judge, nothing_found
from dpcenet.segmentation.review.review_page import write_review
from dpcenet.system.texts import said, words
from samples import CALIBRATION, GOOD, UNLIKE_ALL, every_reason, made_case
from shown_texts import CHINESE, SENTENCE, shown


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A review with all that one can show: each flag, every reason, and other weights."""
    qualities = {
        "liver": judge(GOOD, CALIBRATION),
        "kidney": judge(UNLIKE_ALL, CALIBRATION, calibrated=False),
        "spleen": nothing_found(),
    }
    cases = [replace(made_case("one", 1.0), labels=qualities), made_case("two", 0.1)]
    return write_review(tmp_path, cases, [np.array([1.0, 0.0])]).read_text("utf-8")


def test_the_chinese_review_is_chinese(page: str) -> None:
    texts = shown(page, "zh")
    assert not [text for text in texts if re.search(SENTENCE, text)]
    whole = " ".join(texts)
    for part in ("审阅", "可接受", "需查看", "预计较差", "下一步标注", "分为 3 块", "不是医疗器械"):
        assert part in whole, part


def test_the_english_review_is_english(page: str) -> None:
    texts = shown(page, "en")
    assert [text for text in texts if re.search(CHINESE, text)] == ["中文"]
    whole = " ".join(texts)
    for part in ("review", "accept", "label next: 1", "in 3 parts", "calibrated for other weights"):
        assert part in whole, part


def test_both_languages_say_as_much(page: str) -> None:
    english, chinese = (page.count(f'<span lang="{language}">') for language in ("en", "zh"))
    assert english == chinese > 40


@pytest.mark.parametrize("reason", every_reason())
def test_every_reason_has_a_chinese_text(reason: str) -> None:
    chinese = said(reason, words("zh"))
    assert re.search(CHINESE, chinese) and not re.search(SENTENCE, chinese)
