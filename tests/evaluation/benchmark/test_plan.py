"""Plans: files of the package and of a person, changes of them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpcenet.errors import ConfigError
from dpcenet.evaluation.benchmark.plan import (
    ANY_TRUNK,
    MethodRow,
    Setting,
    load_plan,
    parse_folders,
    parse_weights,
    plan_names,
)
from tiny_plan import write_plan


def test_shipped_plans_can_be_read() -> None:
    assert plan_names() == ["episodes", "own", "smoke", "table1", "table2", "table3", "table4"]
    for name in plan_names():
        assert "DPCENet" in [row.name for row in load_plan(name).methods]


def test_a_file_is_read_with_changes(tmp_path: Path) -> None:
    plan = load_plan(
        str(write_plan(tmp_path)),
        ("steps=9", "seeds=[4]", "methods=[{name: a, preset: copy/plain}]"),
    )
    assert (plan.title, plan.steps, plan.seeds, plan.folds) == ("Tiny", 9, (4,), (0,))
    assert plan.methods == (MethodRow("a", "copy/plain"),) and plan.settings == (Setting(),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("methods=[{name: a, preset: copy/plain, wrong: 1}]", "wrong"),
        ("wrong=1", "wrong"),
        ("settings=[{setting: 3}]", "setting"),
        ("methods=[]", "at least one"),
        ("methods=[{name: a, preset: x}, {name: a, preset: y}]", "each name once"),
    ],
)
def test_what_is_wrong_is_named(changes: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_plan(str(write_plan(tmp_path)), (changes,))


def test_an_unknown_plan_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"none of that name.*table1"):
        load_plan("table9")


def test_folders_belong_to_data_sets_of_the_plan(tmp_path: Path) -> None:
    plan = load_plan(str(write_plan(tmp_path)))
    assert parse_folders((f"made={tmp_path}/a=b",), plan) == {"made": tmp_path / "a=b"}
    for text in ("other=x", "made"):
        with pytest.raises(ConfigError, match="NAME=FOLDER"):
            parse_folders((text,), plan)


def test_weights_serve_one_trunk_or_every_one(tmp_path: Path) -> None:
    whole, deep = tmp_path / "resnet50=1.pth", tmp_path / "deep.pth"
    for path in (whole, deep):
        path.write_bytes(b"1")
    assert parse_weights((str(whole), f"resnet101={deep}")) == {ANY_TRUNK: whole, "resnet101": deep}
    for wrong in (f"resnet9={deep}", f"vgg16={tmp_path}/none.pth", str(tmp_path / "none.pth")):
        with pytest.raises(ConfigError, match="no such file; write FILE or TRUNK=FILE"):
            parse_weights((wrong,))
    with pytest.raises(ConfigError, match="given for every trunk already"):
        parse_weights((str(whole), str(deep)))
