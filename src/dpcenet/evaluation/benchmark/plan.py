"""A plan: which methods are trained and tested on which data, under which rules.

A plan is one YAML file, validated here. `experiments` multiplies it out, each experiment being one
run of `dpcenet train` and its evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal, get_args

from dpcenet.data.splits import Scheme
from dpcenet.errors import ConfigError
from dpcenet.evaluation.scores import Protocol
from dpcenet.nn.encoder import TrunkName
from dpcenet.system.assets import asset, asset_names
from dpcenet.training.config import load_options

ANY_TRUNK = "every trunk"
"""Key of the file of weights that serves each trunk without one of its own."""


@dataclass(frozen=True)
class MethodRow:
    """A line of the plan's tables.

    Attributes:
        name: of the line.
        preset: what is trained.
        set: "key.key=value" changes of the preset.
        equal: further changes that the plan's one trunk needs.
        own: preset in place of `preset` where each method has its own trunk.
        setting2: changes of the preset in Setting 2.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    preset: str
    set: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    own: str = ""
    setting2: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What is tested, and what training may see.

    Attributes:
        setting: 1 or 2.
        labels: tested labels by name; empty for all.
        name: in the names of runs.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    setting: Literal[1, 2] = 1
    labels: tuple[str, ...] = ()
    name: str = "s1"


@dataclass(frozen=True)
class Plan:
    """What a plan's file says.

    Attributes:
        title: heads the tables.
        data: names of data sets; those without a folder are left out.
        methods: lines of the tables.
        made: scans to make for a data set called "phantom"; 0 makes none.
        settings: which are run.
        folds: which are run, of `of_folds`.
        of_folds: how many folds there are.
        scheme: the written form of the folds.
        exclusion: the rule of Setting 2.
        seeds: of weights and episodes.
        steps: of training, in place of the presets'; None keeps theirs.
        support: which scan of a fold is the labelled one: first, last, all, or its index.
        shots: labelled scans at once.
        protocols: of the evaluation.
        registered: whether the row `copy` brings the row `register` with it.
        equal: changes of every trained preset that give all of them one trunk and one schedule.
        set: further changes of every trained preset.
        pretrained: whether the trunk needs a file of weights.
    """

    title: str = ""
    data: tuple[str, ...] = ()
    methods: tuple[MethodRow, ...] = ()
    made: int = 0
    settings: tuple[Setting, ...] = (Setting(),)
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    of_folds: int = 5
    scheme: Scheme = "lineage"
    exclusion: Literal["any", "all"] = "any"
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    support: str = "first"
    shots: int = 1
    protocols: tuple[Protocol, ...] = ("paper",)
    registered: bool = False
    equal: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    pretrained: bool = True


def plan_names() -> list[str]:
    """The plans that come with the package."""
    return asset_names("plans", ".yaml")


def load_plan(name: str, overrides: tuple[str, ...] = ()) -> Plan:
    """Read a plan by name ("table1") or by path.

    Args:
        name: of a plan of the package, or a YAML file.
        overrides: "key=value" texts that replace values of the plan.

    Raises:
        ConfigError: no such plan, an unknown key, a wrong value, or nothing to run.
    """
    if Path(name).suffix in {".yaml", ".yml"}:
        plan = load_options(Plan, Path(name), overrides)
    elif name in plan_names():
        with resources.as_file(asset(f"plans/{name}.yaml")) as path:
            plan = load_options(Plan, path, overrides)
    else:
        raise ConfigError(
            f"plan {name!r}: there is none of that name; give a YAML file or one of "
            f"{', '.join(plan_names())}"
        )
    names = [row.name for row in plan.methods]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"plan {name}: methods {names}: give at least one, each name once")
    return plan


def parse_weights(texts: tuple[str, ...]) -> dict[str, Path]:
    """Trunk → file of pretrained weights, from texts "FILE" (for every trunk) or "TRUNK=FILE".

    Raises:
        ConfigError: no such trunk or file, or two files for one trunk.
    """
    files: dict[str, Path] = {}
    for text in texts:
        trunk, separator, path = text.partition("=")
        named = trunk if separator and trunk in get_args(TrunkName) else ANY_TRUNK
        file = Path(text if named == ANY_TRUNK else path).resolve()
        if not file.is_file():
            raise ConfigError(
                f"--weights {text}: no such file; write FILE or TRUNK=FILE, TRUNK one of "
                f"{', '.join(get_args(TrunkName))}"
            )
        if named in files:
            raise ConfigError(f"--weights {text}: {files[named]} is given for {named} already")
        files[named] = file
    return files


def parse_folders(texts: tuple[str, ...], plan: Plan) -> Mapping[str, Path]:
    """Data set → folder, from texts "NAME=FOLDER".

    Raises:
        ConfigError: not written like that, or a data set that the plan does not name.
    """
    folders = {}
    for text in texts:
        name, separator, folder = text.partition("=")
        if not separator or name not in plan.data:
            raise ConfigError(f"--data {text}: write NAME=FOLDER, NAME one of {list(plan.data)}")
        folders[name] = Path(folder).resolve()
    return folders
