"""A plan becomes experiments: their order, names, configs, and keys by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpcenet.errors import ConfigError
from dpcenet.evaluation.benchmark.experiments import PlanInputs, experiments
from dpcenet.evaluation.benchmark.plan import load_plan
from made import write_prepared
from tiny_plan import expand, write_plan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan"))


def test_every_row_fold_and_seed_is_an_experiment(plan_file: Path, data: Path) -> None:
    found = expand(plan_file, data)
    assert [e.name.rpartition("-")[0] for e in found] == [
        "copy-s1-fold0-seed0",  # nothing is trained, so one seed is enough
        "dpcenet-s1-fold0-seed0",
        "baseline-s1-fold0-seed0",
        "dpcenet-s1-fold0-seed1",
        "baseline-s1-fold0-seed1",
    ]
    assert found[2].config.options.sqca == "off" and found[1].config.train.steps == 3
    assert found[0].folder(Path("out")) == Path("out/runs/made") / found[0].name


def test_keys_follow_what_decides_the_numbers(plan_file: Path, data: Path, tmp_path: Path) -> None:
    found = expand(plan_file, data)
    assert len({e.key for e in found}) == 5
    longer = expand(plan_file, data, "steps=4")
    assert longer[1].key != found[1].key and longer[0].key == found[0].key
    blind = expand(plan_file, data, "protocols=[blind]")
    assert all(one.key != two.key for one, two in zip(blind, found, strict=True))
    moved = expand(plan_file, shutil.copytree(data, tmp_path / "moved"))
    assert [e.key for e in moved] == [e.key for e in found]


def test_names_of_folders_are_plain(plan_file: Path, data: Path) -> None:
    row = "methods=[{name: 'Q-Net, 2nd (é)', preset: copy/plain}]"
    (one,) = expand(plan_file, data, row)
    assert one.row == "Q-Net, 2nd (é)" and one.name.startswith("q-net-2nd-é-s1-fold0-seed0-")


def test_one_trunk_for_all_or_each_its_own(plan_file: Path, data: Path) -> None:
    plan = load_plan(str(plan_file), ("equal=[options.encoder.frozen=true, episodes.views=2]",))
    for equal in (True, False):
        found = experiments(plan, PlanInputs({"made": data}, None, equal, "bfloat16"))
        assert found[1].config.options.encoder.frozen == equal
        assert {e.config.train.precision for e in found} == {"bfloat16"}


def test_weights_count_by_content(plan_file: Path, data: Path, tmp_path: Path) -> None:
    plan, keys = load_plan(str(plan_file), ("pretrained=true",)), []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        path = tmp_path / name
        path.write_bytes(content)
        found = experiments(plan, PlanInputs({"made": data}, path, True, "float32"))
        assert found[1].config.options.encoder.weights == str(path)
        keys.append(found[1].key)
    assert keys[0] == keys[1] != keys[2]


def test_what_is_missing_is_named(plan_file: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="--weights"):
        expand(plan_file, data, "pretrained=true")
    with pytest.raises(ConfigError, match="no label brain"):
        expand(plan_file, data, "settings=[{labels: [brain]}]")
    assert experiments(load_plan(str(plan_file)), PlanInputs({}, None, True, "float32")) == []
