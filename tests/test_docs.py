"""What the documents print is right: commands, paths, targets, extras, links."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from documents import DOCUMENTS, ROOT, blocks, commands, inline_commands, name_of, printed_lines
from dpcenet.cli import app

DPCENET: Any = typer.main.get_command(app)
PROGRAMS = r"(?:python|\.ci/\S+|(?:benchmarks|experiments)/\S+|pytest)"
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words after its name."""
    command = DPCENET
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            raise AssertionError(f"no command {' '.join(words)}")
        command, words = command.commands[words[0]], words[1:]
    return command, words


def flags_of(command: Any) -> set[str]:
    """The options that a command takes."""
    known = {"--help", "-h"}
    return known.union(*(p.opts + p.secondary_opts for p in command.params))


@each_document
def test_printed_commands_can_be_parsed(path: Path) -> None:
    for words in commands(path):
        command, arguments = command_of(words)
        command.make_context(words[0], [word for word in arguments if word != "…"]).close()


@each_document
def test_commands_within_the_text_name_real_options(path: Path) -> None:
    for words in inline_commands(path):
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        if words[0].startswith("-"):
            assert set(options) <= flags_of(DPCENET) | {"--install-completion", "--show-completion"}
        elif words[0] == words[0].lower():  # COMMAND stands for any
            group = DPCENET.commands.get(words[0])
            assert group is not None, words
            command = group if len(words) == 1 else command_of(words)[0]
            assert set(options) <= flags_of(command), words


def test_a_wrong_command_is_found() -> None:
    for words in (["segmnt", "scans"], ["segment", "scans", "--no-such"], ["train", "x/y"]):
        with pytest.raises((AssertionError, SystemExit, Exception), match=r"segmnt|no-such|data"):
            command, arguments = command_of(words)
            command.make_context(words[0], arguments)


@each_document
def test_scripts_targets_and_extras_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for named in re.findall(r"dpcenet\[([a-z,]+)\]", text):
        assert set(named.split(",")) <= extras["optional-dependencies"].keys()
    for line in printed_lines(path):
        if re.match(PROGRAMS, line):
            named = re.search(r"(?:\.ci|benchmarks|experiments|tests)/[\w./-]+", line)
            assert named is None or (ROOT / named.group()).exists(), line


@each_document
def test_paths_of_code_exist(path: Path) -> None:
    if path.name in {"log.md", "results.md", "tables.md"}:  # what they name stood at their commit
        return
    for named in re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|yaml|sh|md))`", path.read_text("utf-8")):
        made_up = re.search(r"NAME|RUN|^own/", named)  # what a command or a person makes
        places = (ROOT, ROOT / "src" / "dpcenet")
        assert made_up or any((place / named).exists() for place in places), named


@each_document
def test_python_in_documents_is_python(path: Path) -> None:
    for code in blocks(path, "python"):
        ast.parse(code)


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_both_readmes_say_the_same() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh.md"

    def typed(path: Path) -> list[str]:
        return [line.partition("#")[0].strip() for line in printed_lines(path)]

    def linked(path: Path) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", path.read_text("utf-8"))) - {"README.zh.md"}

    assert typed(english) == typed(chinese) != []
    assert linked(english) == linked(chinese)
    headings = [len(re.findall(r"^#+ ", p.read_text("utf-8"), re.M)) for p in (english, chinese)]
    assert headings[0] == headings[1]
    assert "仅供科研使用" in chinese.read_text("utf-8")


def test_the_site_has_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for path in (ROOT / "docs").rglob("*.md"):
        name = re.escape(path.relative_to(ROOT / "docs").as_posix())
        assert re.search(rf"[-:] {name}$", navigation, re.MULTILINE), path
