"""The commands of the pages run as they are printed, in a folder with made-up files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from docs_pages import NEEDS, NOT_RUN, PAGES, SHORTER, shorter
from docs_person import Person
from documents import DOCUMENTS, PROGRAM, ROOT, all_blocks, lines_of, name_of, other_lines

DOCS = ROOT / "docs"
ELSEWHERE = {
    "README.zh.md": "the same commands as README.md (tests/test_docs.py)",
    "docs/python.md": "tests/test_python.py runs its Python",
}


def reason_against(text: str) -> str:
    """Why a command or a block is not run; empty where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, text)), "")


def lacking(text: str) -> bool:
    """Whether a package that a command needs is not installed; `make setup` installs all."""
    needed = [package for pattern, package in NEEDS.items() if re.search(pattern, text)]
    return any(find_spec(package) is None for package in needed)


def work_of(path: Path) -> Iterator[tuple[str, str]]:
    """Kind (bash, python, yaml) and text of all that a page has to run, in its order."""
    for block in all_blocks(path):
        if block.language == "bash":
            yield from (("bash", line) for line in lines_of(block.text))
        elif block.language in {"python", "yaml"}:
            yield block.language, block.text


def chosen() -> Iterator[Any]:
    """Every page; those with slow commands once more, with all they have."""
    for name, page in PAGES.items():
        if page.slow != ".":
            yield pytest.param(name, False, id=name)
        if page.slow != "^$":
            yield pytest.param(name, True, id=f"{name}-all", marks=pytest.mark.slow)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what makes ONNX
@pytest.mark.parametrize(("name", "everything"), list(chosen()))
def test_the_commands_of_a_page_run(
    name: str, everything: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    for place, make in page.needs.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        make(tmp_path / place)
    left_out = False
    with ExitStack() as ends:
        person = Person(tmp_path, dict(page.given), ends)
        for kind, text in work_of(ROOT / name):
            if kind == "yaml":
                (tmp_path / "plan.yaml").write_text(text)
            elif lacking(text) or (not everything and re.search(page.slow, text)):
                left_out = True
            elif not reason_against(text):
                person.type(text) if kind == "bash" else person.run_python(text)
    if not left_out:
        for made in page.makes:
            assert (tmp_path / made).exists(), made


def test_every_page_with_commands_is_run() -> None:
    printed = {name_of(path) for path in DOCUMENTS if any(k != "yaml" for k, _ in work_of(path))}
    assert printed == PAGES.keys() | ELSEWHERE.keys()


def test_commands_stand_in_blocks_of_bash() -> None:
    for path in DOCUMENTS:
        assert not [line for line in other_lines(path) if PROGRAM.match(line)], path
        for kind, line in work_of(path):
            assert kind != "bash" or PROGRAM.match(line), f"{path}: {line}"


def test_no_exception_is_left_over() -> None:
    texts = [text for path in DOCUMENTS for _, text in work_of(path)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, text) for text in texts), pattern
    for words in SHORTER:
        assert any(shorter(text) and all(w in text for w in words) for text in texts), words
    for name, page in PAGES.items():
        found = [text for _, text in work_of(ROOT / name) if re.search(page.slow, text)]
        assert found or page.slow == "^$", name


def test_the_notebook_runs() -> None:
    path = DOCS / "tutorials" / "first-segmentation.ipynb"
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # nothing of a run is kept
    client = pytest.importorskip("nbclient", reason="no nbclient (extra `docs`)")
    pytest.importorskip("ipykernel", reason="no ipykernel (extra `docs`)")
    nbformat = pytest.importorskip("nbformat")
    done = client.NotebookClient(nbformat.read(path, as_version=4), timeout=120).execute()
    last = [cell for cell in done.cells if cell.cell_type == "code"][-1]
    assert "liver" in last.outputs[0]["data"]["text/plain"]
