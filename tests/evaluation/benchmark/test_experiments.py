"""A plan becomes experiments: their order, names, configs, and keys by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpcenet.errors import ConfigError
from dpcenet.evaluation.benchmark.experiments import PlanInputs, experiments
from dpcenet.evaluation.benchmark.plan import ANY_TRUNK, load_plan
from dpcenet.training.config import Config
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
        found = experiments(plan, PlanInputs({"made": data}, {}, equal, "bfloat16"))
        assert found[1].config.options.encoder.frozen == equal
        assert {e.config.train.precision for e in found} == {"bfloat16"}


def test_weights_count_by_content(plan_file: Path, data: Path, tmp_path: Path) -> None:
    plan, keys = load_plan(str(plan_file), ("pretrained=true",)), []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        path = tmp_path / name
        path.write_bytes(content)
        found = experiments(plan, PlanInputs({"made": data}, {ANY_TRUNK: path}, True, "float32"))
        assert found[1].config.options.encoder.weights == str(path)
        keys.append(found[1].key)
    assert keys[0] == keys[1] != keys[2]


def test_own_trunks_take_their_files_presets_and_published_schedules(
    data: Path, tmp_path: Path
) -> None:
    """Table 2, each method with the trunk and the steps of its publication."""
    files = {"resnet101": tmp_path / "coco", "resnet50": tmp_path / "imagenet"}
    for path in files.values():
        path.write_bytes(path.name.encode())
    groups = "settings=[{setting: 1, name: s1}, {setting: 2, name: s2, labels: [liver]}]"
    plan = load_plan("table2", (groups, "folds=[0]", "seeds=[0]"))

    def trained(equal: bool) -> dict[str, Config]:
        found = experiments(plan, PlanInputs({"chaos": data}, files, equal, "float32"))
        assert len({e.key for e in found}) == len(found) == 20
        return {e.name.rpartition("-fold")[0]: e.config for e in found if e.config.train.steps}

    own, equal = trained(equal=False), trained(equal=True)
    trunks = [each.options.trunk for each in (*own.values(), *equal.values())]
    used = [(trunk.name, Path(trunk.weights or "").name) for trunk in trunks if trunk]
    assert used == [("resnet101", "coco")] * 16 + [("resnet50", "imagenet")] * 16
    assert {each.train.steps for each in equal.values()} == {1000}
    assert own["dpcenet-s1"].preset == "dpcenet/paper"
    assert (own["dpcenet-s1"].train.steps, own["adnet-s2"].train.steps) == (100_000, 50_000)
    alphas = [own[f"q-net-{s}"].options.scale_weights for s in ("s1", "s2")]  # type: ignore[attr-defined]
    assert alphas == [(0.9, 0.1), (0.6, 0.4)]


def test_what_is_missing_is_named(plan_file: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="--weights"):
        expand(plan_file, data, "pretrained=true")
    with pytest.raises(ConfigError, match="no label brain"):
        expand(plan_file, data, "settings=[{labels: [brain]}]")
    assert experiments(load_plan(str(plan_file)), PlanInputs({}, {}, True, "float32")) == []
