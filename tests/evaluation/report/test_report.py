"""The page and its files: what came out on top, a legend, and nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.sections import cost_head
from dpcenet.system.texts import LANGUAGES, legend, words
from reports import score, write_run


def scores(dices: dict[str, float]) -> list:
    return [
        score(name, f"case{n}", "liver", dice + n / 100)
        for name, dice in dices.items()
        for n in range(3)
    ]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run = write_run(
        folder / "run <1>", scores({"tiny": 0.5, "copy": 0.2}), facts={"dataset": "made"}
    )
    report([run.folder], folder / "out")
    return folder / "out"


def test_the_page_begins_with_two_sentences(out: Path) -> None:
    text = re.sub(r"\s+", " ", (out / "report.html").read_text())
    first = re.search(r'<p><b><span lang="en">(.*?)</span><span lang="zh">(.*?)</span></b>', text)
    assert first is not None and first.start() < text.index("<table>")
    assert first[2].startswith("在 made 上，tiny 的平均 Dice 最高：3 个病例的平均值为 51.0 %。")
    assert first[1] == (
        "On made, tiny has the highest mean Dice: 51.0 % over 3 cases. It is 30.0 points better "
        "than the second, copy (the pasted mask); that is not significant: with these cases it "
        "may be chance."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_column_has_its_word_in_the_legend(out: Path, language: str) -> None:
    page = (out / "report.html").read_text()
    (shown,) = re.findall(rf'<dl lang="{language}">(.*?)</dl>', page, re.DOTALL)
    heads = re.findall(r"<th>(.*?)</th>", page)
    spans = [re.search(rf'<span lang="{language}">(.*?)</span>', head) for head in heads]
    columns = {s[1] if s else head for s, head in zip(spans, heads, strict=True)}
    assert {"95 %", "HD95 mm", "NSD %", words(language)["head.cases"]} <= columns
    for column in columns - {"liver"}:
        assert f"<dt>{column}</dt>" in shown
    for word in ("Dice", "copy", "p", words(language)["head.wins"], "protocol", "setting"):
        assert f"<dt>{word}</dt>" in shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_cost_column_is_in_the_legend(language: str) -> None:
    say = words(language)
    explained = " ".join(legend(say))
    short = {"en": "core-s", "zh": "核心 s"}[language]
    for column in cost_head(say):
        shown = column.removesuffix(" %")
        assert shown in explained or (short in column and short in explained), column


def test_the_page_is_self_contained_escaped_and_dark_where_wanted(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "src=" not in page.replace('src="data:', "") and "http" not in page
    assert "run &lt;1&gt;" in page and "run <1>" not in page
    assert "color-scheme: light dark" in page and "not a medical device" in page


def test_tables_and_figures_are_files_too(out: Path) -> None:
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert names == {
        "report.html", "tables.md", "tables.csv", "tables.tex", "figures/runs-made-1-box.png",
    }  # fmt: skip
    markdown = (out / "tables.md").read_text()
    assert markdown.startswith("## Runs\n") and "| tiny | 51.0 ± 1.0 |" in markdown


def test_many_runs_show_one_config_for_each_method(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"run{fold}", scores({"tiny": 0.5}), fold=fold).folder
        for fold in range(7)
    ]
    page = report(runs, tmp_path / "out").read_text()
    assert page.count("</span>: tiny</summary>") == 1 and "run3" not in page
