"""Wrong arguments are refused before torch is loaded; Ctrl-C says how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dpcenet.cli import app
from dpcenet.cli.checks import check_named, stopped
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
