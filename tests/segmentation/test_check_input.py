"""Mistakes in what is named are found before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dpcenet.errors import ConfigError
from dpcenet.segmentation.check_input import check_labelled


def test_what_works_is_let_through(tmp_path: Path) -> None:
    check_labelled([tmp_path], [tmp_path], None)  # a folder may be a DICOM series
    check_labelled([], [], tmp_path)


@pytest.mark.parametrize(
    ("images", "masks", "task", "message"),
    [
        ("", "", "", "no labelled scan"),
        ("", "m", "", "no labelled scan"),
        ("i", "m", "t", "not both"),
        ("", "m", "t", "not both"),
        ("ij", "m", "", "2 --support-image and 1 --support-mask: give pairs"),
        ("i", "x", "", r"--support-mask .*x: there is no such file"),
        ("x", "m", "", r"--support-image .*x: there is no such file"),
        ("", "", "x", r"--task .*x: there is no such file"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, images: str, masks: str, task: str, message: str
) -> None:
    """One letter is one file; x does not exist."""
    for name in "ijmt":
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=message):
        check_labelled(
            [tmp_path / name for name in images],
            [tmp_path / name for name in masks],
            tmp_path / task if task else None,
        )


def test_the_command_answers_before_torch_is_imported(tmp_path: Path) -> None:
    code = """
import sys
from dpcenet.cli import app
from dpcenet.errors import ConfigError
try:
    app(sys.argv[1:])
except ConfigError as error:
    print(error, "torch" in sys.modules)
"""
    for command in (["segment", "scan.nii", "--out", tmp_path], ["task", "create"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True
        )
        assert done.stdout.startswith("no labelled scan"), done.stderr
        assert done.stdout.strip().endswith("False")
