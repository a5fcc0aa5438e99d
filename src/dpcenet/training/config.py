"""Configs: a preset is one flat YAML file, validated here and nowhere else.

Unknown keys and wrong values are refused with the file and the key named. Fold, setting, seed and
data are flags of the command; the resolved config goes with the run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

from dpcenet.errors import ConfigError
from dpcenet.methods.registry import METHODS, method_entry, preset_names, presets_of
from dpcenet.system import plugins
from dpcenet.system.device import Precision
from dpcenet.system.files import read_yaml
from dpcenet.system.structured import parse_yaml, yaml_value
from dpcenet.system.validated import shown, validated
from dpcenet.training.episodes import EpisodeOptions
from dpcenet.training.kept_weights import ValidationOptions

Options = TypeVar("Options")


@dataclass(frozen=True)
class TrainOptions:
    """How a method is trained.

    Attributes:
        steps: optimiser steps, one episode each.
        optimiser: "sgd" or "adamw".
        learning_rate: at step 0; times `decay` every `decay_every` steps.
        momentum: of SGD.
        weight_decay: of either.
        trunk_rate: of a trunk that is trained, as a share of the learning rate.
        average: decay of the running mean of the weights, which then predicts; 0 keeps the last.
        class_weights: of background and foreground in the query's loss.
        clip_gradient: largest gradient norm; 0 leaves it alone.
        ahead: with a frozen trunk, episodes whose features are computed in one batch.
        bank_gb: with a frozen trunk and fixed views, the size to which their features are kept.
        precision: of the trunk; "auto" takes bfloat16 where the device computes it in hardware.
        log_every, checkpoint_every: in steps.
        validation: the check on held-out episodes that chooses the step and the cut.
    """

    steps: int = 100_000
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: float = 0.98
    decay_every: int = 1000
    trunk_rate: float = 1.0
    average: float = 0.0
    class_weights: tuple[float, float] = (1.0, 1.0)
    clip_gradient: float = 0.0
    ahead: int = 4
    bank_gb: float = 8.0
    precision: Precision = "auto"
    log_every: int = 10
    checkpoint_every: int = 500
    validation: ValidationOptions = field(default_factory=ValidationOptions)


@dataclass(frozen=True)
class Config:
    """A resolved preset: method, its options, its episodes, its training."""

    method: str
    preset: str
    options: Any
    episodes: EpisodeOptions = field(default_factory=EpisodeOptions)
    train: TrainOptions = field(default_factory=TrainOptions)


def load_preset(name: str, overrides: tuple[str, ...] = ()) -> Config:
    """Read a preset by name ("dpcenet/paper") or by path.

    Args:
        name: of a preset of this package or another one, or a YAML file.
        overrides: "key.key=value" texts that replace single values.

    Raises:
        ConfigError: no such preset, an unknown key, or a wrong value.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        data, label = read_yaml(path), path.stem
    else:
        data, label = parse_yaml(_preset_file(name).read_text("utf-8"), name), name
    for override in overrides:
        _override(data, override)
    return parse_config(data, label, source=name)


def _preset_file(name: str) -> Traversable:
    """The file of a preset by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    method = name.partition("/")[0]
    if method in METHODS or method in plugins.offered(plugins.METHODS):
        files = presets_of(method)
        if name in files:
            return files[name]
    raise ConfigError(
        f"preset {name!r}: there is none of that name; give a YAML file or one of "
        f"{', '.join(preset_names())}"
    )


def parse_config(data: object, preset: str, source: str) -> Config:
    """Validate what a YAML or JSON file holds.

    Raises:
        ConfigError: an unknown key or a wrong value; the message names `source` and the key.
    """
    method = data.get("method") if isinstance(data, dict) else data
    if not isinstance(data, dict) or not isinstance(method, str):
        raise ConfigError(f"{source}: method {shown(method)}; choose one of {', '.join(METHODS)}")
    try:
        kind = method_entry(method).options
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    options = validated(kind, data.get("options") or {}, source, "options")
    whole = {**data, "preset": data.get("preset", preset), "options": None}
    config = validated(Config, whole, source)
    return dataclasses.replace(config, options=options)


def load_options(kind: type[Options], path: Path | None, overrides: tuple[str, ...]) -> Options:
    """A dataclass from its defaults, a YAML file and "key.key=value" texts.

    Raises:
        ConfigError: the file cannot be read, an unknown key, or a wrong value.
    """
    data = {} if path is None else read_yaml(path)
    for override in overrides:
        _override(data, override)
    return validated(kind, data, str(path or "--set"))


def config_to_dict(config: Config) -> dict[str, Any]:
    """The config as plain values; `parse_config` reads it back."""
    return dataclasses.asdict(config)


def _override(data: dict[str, Any], text: str) -> None:
    """Set one value of a nested mapping from "key.key=value"; the value is YAML."""
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"--set {text}: write it as key.key=value")
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {text}: {parent} holds a single value, not keys")
    data[last] = yaml_value(value, f"--set {text}")
