"""Presets: all that come with the package are valid; mistakes are named with their key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dpcenet.errors import ConfigError
from dpcenet.methods.registry import METHODS, preset_names
from dpcenet.training.config import (
    config_to_dict,
    load_options,
    load_preset,
    parse_config,
)
from dpcenet.training.incontext_trainer import PretrainConfig


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_complete_and_makes_the_round_trip(name: str) -> None:
    config = load_preset(name)
    assert config.preset == name and name.startswith(config.method)
    assert parse_config(config_to_dict(config), name, "again") == config


def test_every_method_has_a_preset() -> None:
    assert {name.split("/")[0] for name in preset_names()} == set(METHODS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: nothing", "method 'nothing'; choose one of"),
        ("[1, 2]", "keys with values belong"),
        ("method: dpcenet\noptions: {wdth: 3}", "unknown key options.wdth"),
        ("method: dpcenet\noptions: {encoder: {nam: x}}", "unknown key options.encoder.nam"),
        ("method: dpcenet\nextra: 1", "unknown key extra"),
        ("method: dpcenet\noptions: {sqca: sideways}", "options.sqca = 'sideways'"),
        ("method: dpcenet\ntrain: {steps: many}", "train.steps = 'many'"),
        ("method: [", "not YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_preset(str(path))
    assert message in str(caught.value) and "mine.yaml" in str(caught.value)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="dpcenet/paper"):
        load_preset("dpcenet/best")


def test_overrides_replace_single_values() -> None:
    config = load_preset("dpcenet/paper", ("options.encoder.name=resnet50", "train.steps=7"))
    assert config.options.encoder.name == "resnet50" and config.train.steps == 7
    plain = load_preset("dpcenet/paper")
    assert dataclasses.replace(config.options, encoder=plain.options.encoder) == plain.options
    with pytest.raises(ConfigError, match="key=value"):
        load_preset("dpcenet/paper", ("train.steps",))


def test_options_of_a_command_come_from_file_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "pretrain.yaml"
    path.write_text("steps: 7\npairs: {size: 64}\n")
    options = load_options(PretrainConfig, path, ("network.size=96",))
    assert (options.steps, options.pairs.size, options.network.size) == (7, 64, 96)
    with pytest.raises(ConfigError, match=r"unknown key pairs\.sise"):
        load_options(PretrainConfig, None, ("pairs.sise=3",))
