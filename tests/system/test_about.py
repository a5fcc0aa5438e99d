"""`dpcenet --version` and `dpcenet cite`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dpcenet
from dpcenet.methods.registry import METHODS
from dpcenet.nn.own_trunk import SHA256
from dpcenet.system.about import bibtex, versions_text

ROOT = Path(__file__).parents[2]


def test_the_version_names_what_decides_results() -> None:
    text = versions_text()
    assert text.startswith(f"dpcenet {dpcenet.__version__}\ntorch   2.")
    assert f"weights incontext, sha256 {SHA256[:16]}" in text


@pytest.mark.parametrize(
    ("code", "seconds"),
    [
        ("from dpcenet.__main__ import main; sys.argv = ['dpcenet', '--help']; main()", 0.3),
        ("from dpcenet.__main__ import main; sys.argv = ['dpcenet', '--version']; main()", 0.3),
        ("before = time.process_time(); import dpcenet", 0.1),
    ],
)
def test_what_a_person_waits_for_is_quick(code: str, seconds: float, tmp_path: Path) -> None:
    """Processor time of the quickest of five, with the compiled files that an installer leaves.

    On a machine so slow that the libraries of the commands alone take more than half of the time,
    at most twice what they take, measured by turns.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    took, libraries = [], []
    for _ in range(6):
        took.append(processor_time(code, environment))
        libraries.append(processor_time("import typer, typer.rich_utils", environment))
    assert min(took[1:]) < max(seconds, 2 * min(libraries[1:])), (took, libraries)


def processor_time(code: str, environment: dict[str, str]) -> float:
    """Seconds that a new Python takes for some code, without torch and numpy."""
    measured = (
        "import atexit, sys, time\n"
        "before = 0\n"
        "def end():\n"
        "    assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "    print('TOOK', time.process_time() - before)\n"
        f"atexit.register(end)\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "TOOK" in done.stdout, done.stderr
    return float(done.stdout.rpartition("TOOK")[2])


def test_the_citation_file_is_right() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert facts["version"] == dpcenet.__version__ and facts["license"] == "Apache-2.0"
    dois = {reference.get("doi") for reference in facts["references"]} - {None}
    assert dois and all(doi in "".join(filter(None, map(bibtex, METHODS))) for doi in dois)
    api = pytest.importorskip("cffconvert", reason="no cffconvert (extra `dev`)")
    api.Citation((ROOT / "CITATION.cff").read_text()).validate()
