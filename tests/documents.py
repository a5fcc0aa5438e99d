"""The documents of the project, and the commands that they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.name not in {"CHANGELOG.md"}
)
PROGRAM = re.compile(
    r"(dpcenet|python3?|pytest|make|pip|docker|env/bin/\S+|experiments/\S+|for \w+ in) "
)
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language and what stands in it."""

    language: str
    text: str


def name_of(path: Path) -> str:
    """A document's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def all_blocks(path: Path) -> list[Block]:
    """The fenced blocks, in the order of the page."""
    return [Block(*found) for found in _FENCE.findall(path.read_text("utf-8"))]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [block.text for block in all_blocks(path) if block.language == language]


def lines_of(block: str) -> list[str]:
    """The lines of a block that are not empty."""
    return [line.strip() for line in block.splitlines() if line.strip()]


def printed_lines(path: Path) -> Iterator[str]:
    """Lines that a person types: those of the blocks in bash."""
    for block in blocks(path, "bash"):
        yield from lines_of(block)


def other_lines(path: Path) -> Iterator[str]:
    """Lines of other blocks, indented ones among them: output, layouts, equations."""
    text = path.read_text("utf-8")
    for language, block in _FENCE.findall(text):
        if language not in {"bash", "python"}:
            yield from lines_of(block)
    indented = [line for line in _FENCE.sub("", text).splitlines() if line.startswith("    ")]
    yield from (line.strip() for line in indented)


def commands(path: Path, program: str = "dpcenet") -> list[list[str]]:
    """The arguments of each printed command of a program."""
    typed = (line for line in printed_lines(path) if line.startswith(f"{program} "))
    return [shlex.split(line, comments=True)[1:] for line in typed]


def inline_commands(path: Path) -> list[list[str]]:
    """The arguments of each `dpcenet …` within the text; words may be left out there."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    found = re.findall(r"(?<!`)`dpcenet ([^`]+)`(?!`)", text)
    return [part.replace("…", " ").split() for part in found]
