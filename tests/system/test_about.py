"""`dpcenet --version` and `dpcenet cite`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.methods.registry import METHODS
from dpcenet.nn.own_trunk import SHA256
from dpcenet.system.about import OURS, citation, versions_text

ROOT = Path(__file__).parents[2]


def test_the_version_names_what_decides_results() -> None:
    text = versions_text()
    assert text.startswith(f"dpcenet {dpcenet.__version__}\ntorch   2.")
    assert f"weights incontext, sha256 {SHA256[:16]}" in text


def test_the_version_and_the_help_are_quick() -> None:
    for flag in ("--version", "--help"):
        code = (
            f"import sys, time; sys.argv = ['dpcenet', '{flag}']\n"
            "from dpcenet.__main__ import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
            "assert time.process_time() < 0.3, time.process_time()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_method_of_a_paper_can_be_cited() -> None:
    for method in sorted(METHODS.keys() - OURS):
        text = citation(method)
        assert f"{{{method},\n" in text and "dpcenet-software" in text
        assert text.count("{") == text.count("}")
    assert "doi = {10.12677/mos.2025.148564}" in citation("dpcenet")
    assert citation("copy") == citation() and dpcenet.__version__ in citation()


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="best: no such method; known are adnet, catnet, copy"):
        citation("best")


def test_the_citation_file_is_right() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert facts["version"] == dpcenet.__version__ and facts["license"] == "Apache-2.0"
    dois = {reference.get("doi") for reference in facts["references"]} - {None}
    assert dois and all(doi in "".join(map(citation, METHODS)) for doi in dois)
    api = pytest.importorskip("cffconvert", reason="no cffconvert (extra `dev`)")
    api.Citation((ROOT / "CITATION.cff").read_text()).validate()
