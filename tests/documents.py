"""The documents of the project, and the commands that they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.name not in {"CHANGELOG.md"}
)
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    """A document's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for kind, text in _FENCE.findall(path.read_text("utf-8")) if kind == language]


def printed_lines(path: Path) -> Iterator[str]:
    """Lines that a person types: of blocks in bash or without a language, and indented ones."""
    text = path.read_text("utf-8")
    fenced = "".join(code for kind, code in _FENCE.findall(text) if kind in {"", "bash"})
    indented = [line for line in _FENCE.sub("", text).splitlines() if line.startswith("    ")]
    yield from (line.strip() for line in [*fenced.splitlines(), *indented] if line.strip())


def commands(path: Path, program: str = "dpcenet") -> list[list[str]]:
    """The arguments of each printed command of a program."""
    typed = (line for line in printed_lines(path) if line.startswith(f"{program} "))
    return [shlex.split(line, comments=True)[1:] for line in typed]


def inline_commands(path: Path) -> list[list[str]]:
    """The arguments of each `dpcenet …` within the text; words may be left out there."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    found = re.findall(r"(?<!`)`dpcenet ([^`]+)`(?!`)", text)
    return [part.replace("…", " ").split() for part in found]
