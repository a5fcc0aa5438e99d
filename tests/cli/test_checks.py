"""Wrong arguments are refused before torch is loaded; Ctrl-C says how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dpcenet.cli import app
from dpcenet.cli.app import parse_label_name
from dpcenet.cli.checks import check_named, check_words, stopped
from dpcenet.errors import ConfigError, DpcenetError

WRONG = (
    ("segment", "{x}", "--out", "{x}"),
    ("segment", "{x}", "--out", "{x}", "--support-image", "{x}", "--support-mask", "{x}"),
    ("complete", "{x}", "{x}", "-o", "{x}"),
    ("task", "create", "--support-image", "{x}", "--support-mask", "{x}"),
    ("task", "show", "{x}"),
    ("train", "dpcenet/small", "--data", "{x}", "--run", "{x}"),
    ("train", "{x}.yaml", "--data", "{data}", "--run", "{x}"),
    ("train", "dpcenet/best", "--data", "{data}", "--run", "{x}"),
    ("train", "dpcenet/small", "--data", "{data}", "--run", "{x}", "--weights", "{x}"),
    ("evaluate", "{x}"),
    ("report", "{x}", "--out", "{x}"),
    ("pretrain", "--run", "{x}", "--config", "{x}"),
    ("adapt", "--data", "{x}", "--run", "{x}"),
    ("adapt", "--data", "{data}", "--run", "{x}", "--start", "{x}"),
    ("prepare", "{x}", "{x}"),
    ("doctor", "{x}"),
    ("inspect", "{x}"),
    ("benchmark", "{x}", "--out", "{x}"),
    ("app", "{x}"),
)
SCRIPT = """
import sys
from dpcenet.cli import app
from dpcenet.errors import DpcenetError
for line in sys.stdin.read().splitlines():
    try:
        app(line.split("\\t"), standalone_mode=False)
        print("nothing was wrong:", line)
    except DpcenetError as error:
        print(error)
    heavy = [name for name in ("torch", "numba", "scipy") if name in sys.modules]
    assert not heavy, (line, heavy)
"""


def test_every_command_refuses_what_is_not_there_before_anything_heavy(tmp_path: Path) -> None:
    assert app is not None
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text("{}")
    values = {"x": str(tmp_path / "nowhere"), "data": str(tmp_path / "data")}
    lines = ["\t".join(part.format(**values) for part in command) for command in WRONG]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input="\n".join(lines), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()
    assert len(said) == len(WRONG), said
    for command, line in zip(WRONG, said, strict=True):
        assert "nowhere" in line or "no labelled scan" in line or "best" in line, (command, line)
    assert not (tmp_path / "nowhere").exists()


def test_names_there_are_are_listed() -> None:
    check_named("preset", "dpcenet/paper")
    check_named("plan", "table1")
    for kind, known in (("preset", "dpcenet/paper"), ("plan", "table1")):
        with pytest.raises(ConfigError, match=f"none of that name.*{known}"):
            check_named(kind, "best")


def test_ctrl_c_says_how_to_go_on() -> None:
    with (
        pytest.raises(DpcenetError, match="stopped by Ctrl-C; run it again"),
        stopped("run it again"),
    ):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("segment", "", "--out", "o"), "behind segment"),
        (("segment", "a", "--out", ""), "behind --out"),
        (("segment", "a", "--out="), "--out="),
        (("doctor", " "), "behind doctor"),
        (("", "a"), "behind dpcenet"),
    ],
)
def test_an_empty_word_is_no_path(words: tuple[str, ...], named: str) -> None:
    """As a path it would be the current folder, and all that lies there be segmented."""
    with pytest.raises(ConfigError, match=f"^{named}: an empty word; is a variable"):
        check_words(words)
    check_words([word for word in words if word.strip() and word != "--out="])


def test_the_command_looks_for_empty_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dpcenet", "doctor", ""]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    said = "dpcenet: behind doctor: an empty word; is a variable of the shell not set?\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("text", ["1=", "1= ", "1=\n", "=liver", "x=liver", "²=liver", "liver"])
def test_a_name_of_a_label_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="write it as VALUE=NAME"):
        parse_label_name(text)


def test_a_name_holds_no_signs_for_the_terminal() -> None:
    assert parse_label_name("1= a\nb\x1b[31m ") == (1, "a b [31m")
