"""A finished run is thrown away when a source that decides its numbers changes, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpcenet.evaluation.benchmark import code_version as version


@pytest.mark.parametrize("beginning", version.DECIDE_NO_NUMBER)
def test_what_decides_no_number_exists(beginning: str) -> None:
    path = version.PACKAGE / beginning
    assert path.is_dir() if beginning.endswith("/") else path.is_file()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's sources, which a test may edit."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(version.PACKAGE, tmp_path / "dpcenet", ignore=ignored)
    monkeypatch.setattr(version, "PACKAGE", tmp_path / "dpcenet")
    return tmp_path / "dpcenet"


@pytest.mark.parametrize(
    "name", ["volumes/metrics.py", "nn/losses.py", "methods/dpcenet/model.py", "training/train.py"]
)
def test_a_changed_equation_makes_another_version(copy: Path, name: str) -> None:
    before = version.code_version()
    with (copy / name).open("a") as stream:
        stream.write("CHANGED = 1\n")
    assert version.code_version() != before


@pytest.mark.parametrize(
    "name", ["evaluation/report/report.py", "cli/app.py", "segmentation/review/review_page.py"]
)
def test_a_changed_page_makes_no_other_version(copy: Path, name: str) -> None:
    before = version.code_version()
    with (copy / name).open("a") as stream:
        stream.write("CHANGED = 1\n")
    assert version.code_version() == before


def test_a_comment_or_a_docstring_makes_no_other_version(copy: Path) -> None:
    before = version.code_version()
    source = (copy / "volumes" / "metrics.py").read_text(encoding="utf-8")
    edited = source.replace('"""', '"""Edited. ', 1) + "\n\n\n# a comment\n"
    (copy / "volumes" / "metrics.py").write_text(edited, encoding="utf-8")
    assert version.code_version() == before
