"""The Chinese page says nothing in English, and the English page nothing in Chinese."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dpcenet.evaluation.report.report import report
from dpcenet.system.files import write_json
from made import tiny_config, write_prepared
from reports import score, write_masks, write_run
from shown_texts import CHINESE, SENTENCE, shown

LABELS = ("liver", "right kidney", "left kidney", "spleen")


def of_benchmark(folder: Path, row: str, dice: float) -> Path:
    """A complete run of a benchmark on CHAOS."""
    rows = [
        score(row, f"c{n}", label, dice + n / 100, protocol=protocol)
        for label in LABELS
        for n in range(3)
        for protocol in ("paper", "blind")
    ]
    config = replace(tiny_config(4), preset=row)
    run = write_run(folder, rows, config, facts={"dataset": "chaos"}, setting=2)
    cost = {
        "train_seconds": 1.0, "train_cpu_seconds": 1.0, "evaluate_seconds": 1.0,
        "evaluate_cpu_seconds": 1.0, "peak_memory_gb": 1.0,
    }  # fmt: skip
    facts = {"row": row, "data": "chaos", "state": "done", "resumed": False, "cost": cost}
    write_json(folder / "experiment.json", facts)
    return run.folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with all that one can show: a plan with a run that is missing, and a single run."""
    folder = tmp_path_factory.mktemp("everything")
    for row, dice in (("DPCENet", 0.6), ("Q-Net", 0.5)):
        of_benchmark(folder / "plan" / row, row, dice)
    plan = {
        "title": "Table 2: abdomen, Setting 2", "command": "dpcenet benchmark table2",
        "versions": {"commit": "abc"}, "machine": "m",
        "experiments": [{"run": n, "error": ""} for n in ("DPCENet", "Q-Net", "RPT")],
    }  # fmt: skip
    write_json(folder / "plan" / "plans" / "table2.json", plan)
    data = write_prepared(folder / "data", count=3)
    config = tiny_config(4)
    config = replace(config, options=replace(config.options, dpce=False))
    rows = [score("tiny", f"case{n}", "liver", 0.5 + n / 10, support="case2") for n in (0, 1)]
    single = write_run(folder / "single", rows, config, data=str(data)).folder
    write_masks(single, data)
    log = "\n".join(json.dumps({"step": n, "loss": 1.0}) for n in range(50))
    (single / "log.jsonl").write_text(log)
    return report([single, folder / "plan"], folder / "out").read_text("utf-8")


def test_no_english_sentence_is_in_the_chinese_report(page: str) -> None:
    texts = shown(page, "zh")
    names = "|".join(
        ("DPCENet", "Q-Net", *LABELS, r"\([A-Za-z ]+ paper\): .*")
    )  # sources: as printed
    for text in texts:
        assert not re.search(SENTENCE, re.sub(names, "", text)), text
    whole = " ".join(texts)
    for part in (
        "表 2：腹部",
        "尚未运行",
        "训练步",
        "损失",
        "Dice（百分比）",
        "支持影像 case2",
        "同为",
    ):
        assert part in whole, part


def test_the_english_report_is_english(page: str) -> None:
    texts = shown(page, "en")
    assert [text for text in texts if re.search(CHINESE, text)] == ["中文"]
    whole = " ".join(texts)
    for part in ("Table 2", "not run yet", "loss", "Dice, percent", "support case2", "are both"):
        assert part in whole, part


def test_a_sentence_is_found() -> None:
    assert shown("<p lang=zh>the liver is</p><p lang=en>no</p><dl>a b c</dl>", "zh") == [
        "the liver is"
    ]
    assert re.search(SENTENCE, "the liver is") and not re.search(SENTENCE, "Dice 与 HD95 mm")


def test_figures_are_drawings_whose_texts_are_texts(page: str) -> None:
    assert page.count("<svg role") > 4 and "xmlns" not in page and "<img" not in page
    assert re.search(r'<text lang="zh" [^>]*>居中和最差：50 %</text>', page)
