"""Pages: text is escaped, and a value that is missing is an error rather than a gap."""

from __future__ import annotations

import jinja2
import pytest

from dpcenet.system.assets import asset_names
from dpcenet.system.templates import render_page
from dpcenet.system.texts import words

TEXTS = {"en": words("en"), "zh": words("zh")}
EMPTY_REPORT = {"sections": [], "summary": [], "texts": TEXTS, "legend": {}}


def test_text_is_escaped() -> None:
    nothing: dict[str, object] = {key: [] for key in ("tables", "pictures", "cost")}
    section = {**nothing, "name": "plan", "title": "<b>scan & co</b>", "command": ""}
    section |= {"facts": {}, "missing": {}, "configs": {}, "runs": []}
    page = render_page("report.html", **{**EMPTY_REPORT, "sections": [section]})
    assert "&lt;b&gt;scan &amp; co&lt;/b&gt;" in page and "<b>scan" not in page


PAGES = sorted({*asset_names("templates", ".html")} - {"base", "languages"})  # parts of the others


@pytest.mark.parametrize("name", PAGES)
def test_a_missing_value_is_an_error(name: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        render_page(f"{name}.html")
