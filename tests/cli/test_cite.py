"""`dpcenet cite`; works of another package are in tests/test_plugins.py."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import dpcenet
from dpcenet.cli import app
from dpcenet.data.datasets.registry import DATASETS
from dpcenet.errors import ConfigError
from dpcenet.methods.registry import METHODS

OURS = {"copy", "incontext"}  # no paper describes them


def cite(*name: str) -> str:
    return CliRunner().invoke(app, ["cite", *name], catch_exceptions=False).output


def test_every_method_of_a_paper_can_be_cited() -> None:
    for method in sorted(METHODS.keys() - OURS):
        text = cite(method)
        assert f"{{{method},\n" in text and "dpcenet-software" in text
        assert text.count("{") == text.count("}")
    assert "doi = {10.12677/mos.2025.148564}" in cite("dpcenet")
    assert dpcenet.__version__ in cite()
    assert all(cite(method) == cite() for method in OURS)


def test_every_data_set_of_a_paper_can_be_cited() -> None:
    for name, spec in DATASETS.items():
        text = cite(name)
        assert text.startswith(cite().rstrip()) and spec.citation in text
    assert "Kavur" in cite("chaost2")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="best: no such method or data set; known are acdc, adn"):
        cite("best")
