"""The registry: each method has options with defaults, and a preset."""

from __future__ import annotations

import dataclasses
from importlib import resources

import pytest

from dpcenet.methods.base import MethodOptions
from dpcenet.methods.copy import Copy
from dpcenet.methods.registry import METHODS, build_method


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_has_frozen_options_with_defaults_and_a_preset(name: str) -> None:
    options = METHODS[name].options()
    assert isinstance(options, MethodOptions)
    for field in dataclasses.fields(options):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, None)
    folder = resources.files("dpcenet") / "assets" / "presets" / name
    assert any(file.name.endswith(".yaml") for file in folder.iterdir())


def test_a_method_is_built_by_its_name() -> None:
    assert isinstance(build_method("copy", METHODS["copy"].options()), Copy)
