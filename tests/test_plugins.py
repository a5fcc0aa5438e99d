"""Another package's method and data set, in the commands and tables of this one."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dpcenet.cli import app
from dpcenet.data.datasets.registry import DATASETS, dataset_spec
from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.errors import ConfigError
from dpcenet.methods.registry import METHODS, method_entry, preset_names

EXAMPLE = Path(__file__).parent / "plugin_example"


def install(site: Path, extra: str = "") -> Path:
    """What an installer makes of the example: its code, and the entry points of its pyproject."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "dpcenet_example", site / "dpcenet_example")
    facts = site / f"dpcenet_example-{project['version']}.dist-info"
    facts.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"]
    (facts / "METADATA").write_text(lines[0])
    groups = project["entry-points"].items()
    text = "".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in groups
    )
    (facts / "entry_points.txt").write_text(text + extra)
    return site


def call(*arguments: str | Path) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_method_and_a_data_set_of_another_package_are_used_like_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    listed = call("list").splitlines()
    assert "  grey            plain  (dpcenet-example 1.0)" in listed
    assert "  dots            made scans with four organs  (dpcenet-example 1.0)" in listed
    assert any(line.startswith("  panet           fixed, ") for line in listed)
    assert {name.split("/")[0] for name in preset_names()} == {*METHODS, "grey"}

    for number, (scan, label) in enumerate(
        write_phantoms(tmp_path / "raw", 4, shape=(8, 48, 48), spacing=(11.0, 6.0, 6.0))
    ):
        scan.rename(scan.with_name(f"scan_{number}.nii.gz"))
        label.rename(label.with_name(f"dots_{number}.nii.gz"))
    data, run = tmp_path / "data", tmp_path / "run"
    assert "cite Example, Dots" in call("prepare", tmp_path / "raw", data, "--dataset", "dots")
    call("train", "grey/plain", "--data", data, "--run", run, "--fold", "0", "--folds", "2")
    table = call("evaluate", run)
    assert "grey/plain" in table and "three" in table
    page = call("report", run, "--out", tmp_path / "report")
    assert "grey/plain" in page and "grey/plain" in (tmp_path / "report/report.html").read_text()


def test_works_of_another_package_can_be_cited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "site", "[dpcenet.methods]\nlost = no:ENTRY\n"))
    method, data = call("cite", "grey"), call("cite", "dots")
    assert "@software{dpcenet-software," in method and "@article{grey," in method
    assert method.count("{") == method.count("}")
    assert "@software{dpcenet-software," in data and "Dots for Everybody" in data
    with pytest.raises(ConfigError, match="lost of the package dpcenet-example"):
        CliRunner().invoke(app, ["cite", "lost"], catch_exceptions=False)
    with pytest.raises(ConfigError, match=r"gray: no such .*, dots, .*, grey, "):
        CliRunner().invoke(app, ["cite", "gray"], catch_exceptions=False)


def test_a_package_that_cannot_be_loaded_is_a_line_of_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    more = "[dpcenet.methods]\nlost = no_such_module:ENTRY\nodd = dpcenet_example.dots:SPEC\n"
    monkeypatch.syspath_prepend(install(tmp_path / "site", more))
    assert "grey/plain" in preset_names()
    lost, odd = (record.getMessage() for record in caplog.records)
    assert "lost of the package dpcenet-example 1.0" in lost and "no_such_module" in lost
    assert "DatasetSpec, not Entry" in odd and "\n" not in lost + odd
    with pytest.raises(ConfigError, match=r"lost of the package dpcenet-example 1.0: cannot be"):
        method_entry("lost")
    with pytest.raises(ConfigError, match=r"choose one of .*, grey, lost, odd, or install"):
        method_entry("gray")


def test_a_name_of_ours_stays_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "[dpcenet.methods]\npanet = dpcenet_example.grey:ENTRY\n"
    monkeypatch.syspath_prepend(install(tmp_path / "site", more))
    assert method_entry("panet") is METHODS["panet"]
    assert dataset_spec("acdc") is DATASETS["acdc"]
    assert "panet/plain" not in preset_names()
