"""Versions, commit and machine, wherever the package lies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import dpcenet
from dpcenet.system import environment
from dpcenet.system.environment import git_commit, machine, processor, versions


def test_versions_are_those_that_run() -> None:
    found = versions()
    assert found["torch"] == torch.__version__ and found["numpy"] == np.__version__
    assert found["dpcenet"] == dpcenet.__version__ and found["commit"] == git_commit()


@pytest.mark.parametrize("error", [OSError("no git"), subprocess.CalledProcessError(128, "git")])
def test_without_a_checkout_the_commit_is_unknown(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert git_commit() == "unknown"


def test_the_processor_is_read_from_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A 3000: fast\n")
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processor() == "A 3000: fast"
    assert machine().startswith("A 3000: fast, ") and machine().endswith("cores, no GPU")
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "none")
    assert processor()
