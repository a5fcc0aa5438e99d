"""Which version of the code made a run: a hash of the sources that decide its numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import dpcenet
from dpcenet.system.files import hash_of

PACKAGE = Path(dpcenet.__file__).parent
DECIDE_NO_NUMBER = (
    "__main__.py", "app/", "cli/", "data/contact_sheet.py", "data/doctor/",
    "data/synthetic/preview.py", "errors.py", "evaluation/benchmark/", "evaluation/report/",
    "segmentation/", "system/allocation.py", "system/environment.py", "system/lock.py",
    "system/parallel.py", "system/program_end.py", "system/progress.py", "system/tables.py",
    "system/templates.py", "system/texts.py",
    "training/log.py", "training/model_card.py", "training/pretrain.py", "volumes/adapters.py",
    "volumes/dicom/segment_descriptions.py", "volumes/dicom/write_seg.py",
    "volumes/mask_record.py", "volumes/mesh.py", "volumes/structures.py",
)  # fmt: skip
"""Sources that change no score of a run: beginnings of their paths inside the package."""


def code_version() -> str:
    """Hash of the sources that decide a run's numbers (configs are in its key already)."""
    return hash_of({name: _statements(PACKAGE / name) for name in deciding_files()})[:16]


def deciding_files() -> list[str]:
    """Sources that decide a run's numbers: paths inside the package, with "/" between folders."""
    names = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return [name for name in names if not name.startswith(DECIDE_NO_NUMBER)]


def _statements(path: Path) -> str:
    """What a source does: without its layout, comments and docstrings, which may be edited."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)
