"""The command line as a whole: headings, short options, completion, exit codes, progress."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from dpcenet.cli import app
from dpcenet.cli.app import GROUPS, OPTION_GROUPS
from made_scans import write_scans

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"
ROOT: Any = typer.main.get_command(app)


def commands(group: Any = ROOT, path: str = "") -> dict[str, Any]:
    """Every command by its name, such as "task create"."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        found |= commands(command, full) if hasattr(command, "commands") else {full: command}
    return found


def dpcenet(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dpcenet", *map(str, arguments)]
    known = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=known, check=False)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, 2)
    return folder


def given(scans: Path) -> list[object]:
    image, label = scans / "image_01.nii.gz", scans / "label_01.nii.gz"
    return ["--support-image", image, "--support-mask", label, "--label", 4]


def test_help_lists_commands_under_headings_segment_first() -> None:
    shown = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "120"}).output
    places = [shown.index(f" {title} ─") for title in GROUPS]
    assert places == sorted(places)
    rows = re.findall(r"^│ ([a-z]+) ", shown, re.MULTILINE)
    assert rows[0] == "segment"
    assert sorted(rows) == sorted(ROOT.commands)


def test_the_many_options_of_segment_stand_under_headings() -> None:
    shown = CliRunner().invoke(app, ["segment", "-h"], env={"COLUMNS": "120"}).output
    places = [shown.index(f" {title} ─") for title in ("Options", *OPTION_GROUPS)]
    assert places == sorted(places)
    for title, names in OPTION_GROUPS.items():
        (panel,) = re.findall(rf"─ {title} ─.*?╰", shown, re.DOTALL)
        for name in {"support_image", "echo", "layout", "device"} & set(names):
            assert f"--{name.replace('_', '-')}" in panel
    (rest,) = re.findall(r"─ Options ─.*?╰", shown, re.DOTALL)
    assert {"out", "input", "help"} <= set(re.findall(r"--([a-z-]+)", rest))


def test_every_command_answers_to_h_and_says_where_its_output_goes_with_o() -> None:
    for name, command in commands().items():
        assert "-h" in command.context_settings.get("help_option_names", []) or (
            CliRunner().invoke(app, [*name.split(), "-h"]).exit_code == 0
        ), name
        for option in command.params:
            if "--out" in option.opts:
                assert "-o" in option.opts, name


def test_a_name_of_an_option_means_one_thing() -> None:
    """`--label` chooses label values, `--name` names them, a mask is a file of labels."""
    kinds: dict[str, set[str]] = {}
    for command in commands().values():
        for name, kind in get_type_hints(inspect.unwrap(command.callback)).items():
            kinds.setdefault(name, set()).add(str(kind))
    assert all("int" in kind for kind in kinds["label"])
    assert all("str" in kind for kind in kinds["name"])
    assert all("Path" in kind or "str" in kind for kind in kinds["mask"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    asked = {"COMP_WORDS": "dpcenet seg", "COMP_CWORD": "1"}
    asked |= {"_TYPER_COMPLETE_ARGS": "dpcenet seg", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    name = "_DPCENET_COMPLETE"
    code = "import sys; sys.argv[0] = 'dpcenet'; from dpcenet.cli import app; app()"
    environment = {**os.environ, **asked, name: f"complete_{shell}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert "segment" in done.stdout, done


def test_the_input_may_be_an_option(scans: Path, tmp_path: Path) -> None:
    """As other programs have it: -i IN -o OUT. A program reads the progress meanwhile."""
    flags = ["--no-check", "--fast", "--all-parts", "--labelled-too", "--progress", "json"]
    done = dpcenet("segment", "-i", scans, "-o", tmp_path, *given(scans), *flags)
    assert done.returncode == 0, done.stderr
    assert "2 masks in" in done.stdout
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    said = [line["text"] for line in lines if line["event"] == "state"]
    assert any(re.search(r"2 scans, about .* each: about .* at most.* GB", text) for text in said)
    steps = [(line["done"], line["total"]) for line in lines if line["event"] == "progress"]
    assert steps[0] == (0, 2) and steps[-1] == (2, 2)
    record = json.loads((tmp_path / "image_02_seg.nii.gz.json").read_text())
    assert record["inputs"]["fast"] is True
    assert record["inputs"]["one part"] is False


def test_exit_codes_are_those_of_the_document(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DOCUMENT.read_text("utf-8")
    codes = {int(row[0]) for row in re.findall(r"^\| (\d+) \|(.*)", text, re.MULTILINE)}
    assert codes == {0, 1, 2, 130}
    assert dpcenet("segment", scans, "-o", tmp_path).returncode == 2  # no labelled scan
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0
    assert CliRunner().invoke(app, ["segment", "--no-such-option"]).exit_code == 2
    (tmp_path / "image_9.nii.gz").write_bytes(b"no scan")
    assert CliRunner().invoke(app, ["doctor", str(tmp_path)]).exit_code == 1

    def ended(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dpcenet.data.doctor.doctor.diagnose", ended)
    assert CliRunner().invoke(app, ["doctor", str(tmp_path)]).exit_code == 130


def test_the_document_names_every_command() -> None:
    text = DOCUMENT.read_text("utf-8")
    for name in commands():
        assert f"`{name}`" in text or f"`dpcenet {name}`" in text, name


def test_nothing_to_segment_is_said_in_a_line(scans: Path, tmp_path: Path) -> None:
    done = dpcenet("segment", "-o", tmp_path, *given(scans))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "dpcenet: no scan to segment: name scans or folders, or give -i FOLDER"
    ]


def test_every_way_in_asks_for_the_same_dice() -> None:
    """The command, Python, the app's API and its page, and the documents."""
    from dpcenet.app import work
    from dpcenet.app.work_api import Wanted
    from dpcenet.segmentation.predict import predict, predict_with
    from dpcenet.segmentation.review.quality import ACCEPT_DICE

    for function in (inspect.unwrap(ROOT.commands["segment"].callback), work.segment):
        assert inspect.signature(function).parameters["accept_dice"].default == ACCEPT_DICE
    for function in (predict, predict_with):
        assert inspect.signature(function).parameters["accept_dice"].default == ACCEPT_DICE
    assert Wanted.model_fields["accept_dice"].default == ACCEPT_DICE
    page = Path(work.__file__).parent / "page" / "js" / "segment_page.js"
    (shown,) = re.findall(r'step: "0.05", value: "([\d.]+)"', page.read_text("utf-8"))
    documents = DOCUMENT.parent
    texts = [(documents / name).read_text("utf-8") for name in ("segment.md", "quality.md")]
    said = [re.findall(r"`--accept-dice`? ?\(?([\d.]+)", text)[0] for text in texts]
    assert [float(value) for value in (shown, *said)] == [ACCEPT_DICE] * 3
