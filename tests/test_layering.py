"""Imports run one way: a floor may import its own rooms and the floors below, never one above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dpcenet

SOURCE = Path(dpcenet.__file__).parent
FLOORS = (
    {"types", "errors"},
    {"system"},
    {"volumes", "nn"},
    {"data", "methods"},
    {"inference"},
    {"training"},
    {"evaluation", "segmentation"},
    {"app"},
    {"cli"},
)
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
NO_IMPORTS = {"assets"}
TRUTH = {"organ_tasks", "OrganChunks"}


def module_of(path: Path) -> str:
    """dpcenet.room.file of a source."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(source: str) -> Iterator[str]:
    """Modules of the package that a source imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module.split(".")[0] == "dpcenet":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "dpcenet")


def room_of(module: str) -> str | None:
    """The room of a module; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else None


def wrong_imports(room: str, source: str) -> list[str]:
    """What a source of a room imports from above, or from a neighbour on its floor."""
    others = {room_of(module) for module in imports_of(source)} - {None, room}
    return sorted(
        other
        for other in others
        if other is not None
        and (FLOOR[other] > FLOOR[room] or (FLOOR[other] == FLOOR[room] and FLOOR[room] > 0))
    )


SOURCES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def test_every_room_has_its_floor() -> None:
    entries = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if path.name[0] != "_"}
    assert entries == set(FLOOR) | NO_IMPORTS | {"py.typed"}
    assert len(entries) <= 15


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_never_go_up_nor_across(path: Path) -> None:
    assert not wrong_imports(path.relative_to(SOURCE).parts[0], path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("inference", "from dpcenet.segmentation.segmenter import Segmenter"),
        ("evaluation", "from dpcenet.segmentation import segmenter"),
        ("nn", "def late():\n    import dpcenet.methods.base"),
        ("methods", "from dpcenet import data"),
    ],
)
def test_the_rule_finds_a_wrong_import(room: str, source: str) -> None:
    assert wrong_imports(room, source)


def test_no_module_imports_itself_through_others() -> None:
    modules = {module_of(path): path for path in SOURCE.rglob("*.py")}
    graph = {
        name: {
            found
            for wanted in imports_of(path.read_text("utf-8"))
            for found in (wanted, wanted.rpartition(".")[0])
            if found in modules and found != name and modules[found].name != "__init__.py"
        }
        for name, path in modules.items()
    }
    while leaves := {name for name, wanted in graph.items() if not wanted & set(graph)}:
        graph = {name: wanted for name, wanted in graph.items() if name not in leaves}
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_only_evaluation_looks_at_a_querys_truth(path: Path) -> None:
    if path.relative_to(SOURCE).parts[0] == "evaluation":
        return
    names = {n.id for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Name)}
    assert not names & TRUTH
    assert not any(".evaluation" in module for module in imports_of(path.read_text("utf-8"))) or (
        path.relative_to(SOURCE).parts[0] == "cli"
    )
