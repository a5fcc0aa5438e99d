"""Imports run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import dpcenet

SOURCE = Path(dpcenet.__file__).parent
LAYERS = (
    {
        *("allocation", "environment", "errors", "types", "files", "progress", "parallel"),
        *("ledger", "published", "spill", "statistics"),
    },
    {"volumes", "weights", "metrics"},
    {"nn"},
    {"datasets", "methods", "synthetic"},
    {"episodes", "prepare", "doctor"},
    {"config"},
    {"engine", "checkpoint"},
    {"posing"},
    {"bank", "card", "kept_scans", "pair_training", "pretrain", "runlog", "runs", "scores"},
    {"serving"},
    {"train", "evaluate", "segmenting", "provenance", "tables"},
    {"forms", "benchmark", "figures"},
    {"report"},
    {"demo"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports_of(path: Path) -> set[str]:
    """Top-level parts of the package that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found |= {name for name in names if parts[0] == "dpcenet"}
    return found


def parts() -> dict[str, set[str]]:
    """Part → parts that it imports."""
    graph: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if part not in {"__init__", "__main__"}:
            graph.setdefault(part, set()).update(imports_of(path) - {part, "__version__"})
    return graph


def test_every_part_has_its_layer() -> None:
    assert set(parts()) <= set(LEVEL), set(parts()) - set(LEVEL)


def test_imports_never_go_up() -> None:
    wrong = [
        f"{part} imports {other}"
        for part, others in parts().items()
        for other in others
        if LEVEL[other] > LEVEL[part]
    ]
    assert not wrong


def test_datasets_and_methods_never_see_each_other() -> None:
    graph = parts()
    assert "methods" not in graph["datasets"] and "datasets" not in graph["methods"]


def test_only_evaluate_may_look_at_the_querys_truth() -> None:
    users = {
        path.name
        for path in SOURCE.rglob("*.py")
        if "organ_tasks" in path.read_text() and path.name != "protocol.py"
    }
    assert users == {"serving.py"}
