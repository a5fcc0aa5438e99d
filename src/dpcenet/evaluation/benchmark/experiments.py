"""All experiments of a plan: each is one run folder and its evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.errors import ConfigError
from dpcenet.evaluation.benchmark.plan import ANY_TRUNK, MethodRow, Plan, Setting
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.evaluation.scores import COPY
from dpcenet.nn.own_trunk import SHA256 as SHIPPED_SHA256
from dpcenet.nn.own_trunk import SHIPPED
from dpcenet.system.device import Precision
from dpcenet.system.files import file_hash, hash_of
from dpcenet.training.config import Config, config_to_dict, load_preset
from dpcenet.training.run_folder import RunFlags


@dataclass(frozen=True)
class Experiment:
    """One run of a plan.

    Attributes:
        row: line of the tables.
        data: name of the data set.
        config, flags: what is trained, as `dpcenet train` takes it.
        rules: of its evaluations, one each.
        key: hash of all that by content; where data and weights lie does not matter.
        name: of its folder below OUT/runs/<data>.
    """

    row: str
    data: str
    config: Config
    flags: RunFlags
    rules: tuple[ProtocolOptions, ...]
    key: str
    name: str

    def folder(self, out: Path) -> Path:
        """The folder of the run."""
        return out / "runs" / self.data / self.name


@dataclass(frozen=True)
class PlanInputs:
    """What a plan needs besides its file.

    Attributes:
        folders: data set → prepared folder.
        weights: trunk → file of its pretrained weights (`plan.parse_weights`).
        equal: whether all methods share the plan's one trunk and schedule.
        precision: of every trunk.
    """

    folders: Mapping[str, Path]
    weights: Mapping[str, Path]
    equal: bool
    precision: Precision

    def file_for(self, config: Config) -> Path | None:
        """The file of weights of a config's trunk; None where there is none."""
        trunk = config.options.trunk
        if trunk is None or trunk.weights == SHIPPED:
            return None
        return self.weights.get(trunk.name) or self.weights.get(ANY_TRUNK)


def experiments(plan: Plan, inputs: PlanInputs) -> list[Experiment]:
    """The runs of a plan on the data sets that have a folder, untrained methods first.

    Raises:
        ConfigError: a preset, a label or an override is wrong, or the trunk's weights are missing.
        DatasetError: a folder is no prepared data set.
    """
    rows = sorted(plan.methods, key=lambda row: load_preset(row.preset).train.steps > 0)
    every = product(plan.settings, rows)
    configs = {
        (setting.name, row.name): _config(plan, row, setting, inputs) for setting, row in every
    }
    hashes = {path: file_hash(path) for path in inputs.weights.values()}
    found = []
    for name in (name for name in plan.data if name in inputs.folders):
        dataset = open_dataset(inputs.folders[name])
        for (setting, flags), row in product(_flags(plan, dataset), rows):
            config = configs[setting.name, row.name]
            if config.train.steps == 0 and flags.seed != plan.seeds[0]:
                continue  # nothing of it depends on the seed
            rules, file = _rules(plan, config), inputs.file_for(config)
            key = _key(config, flags, rules, dataset.hash, hashes[file] if file else "")
            label = f"{_slug(row.name)}-{setting.name}-fold{flags.fold}-seed{flags.seed}-{key[:8]}"
            found.append(Experiment(row.name, name, config, flags, rules, key, label))
    return found


def _config(plan: Plan, row: MethodRow, setting: Setting, inputs: PlanInputs) -> Config:
    """The resolved preset of a line of the plan."""
    precision = f"train.precision={inputs.precision}"
    if load_preset(row.preset).train.steps == 0:
        return load_preset(row.preset, (*row.set, precision))
    preset = row.preset if inputs.equal else row.own or row.preset
    changes = [*row.set, *(row.setting2 if setting.setting == 2 else ())]
    changes += [*plan.equal, *row.equal] if inputs.equal else []
    changes += [*plan.set, precision]
    if plan.steps is not None:
        changes.append(f"train.steps={plan.steps}")
    config = load_preset(preset, tuple(changes))
    trunk, file = config.options.trunk, inputs.file_for(config)
    if file is not None:
        changes.append(f"options.encoder.weights={file}")
    elif plan.pretrained and trunk is not None and trunk.weights != SHIPPED:
        raise ConfigError(
            f"plan {plan.title!r}: {row.name} trains on a pretrained {trunk.name}: give its file "
            f"with --weights {trunk.name}=FILE (`dpcenet download`), or --set pretrained=false "
            "to start from random weights"
        )
    return load_preset(preset, tuple(changes))


def _rules(plan: Plan, config: Config) -> tuple[ProtocolOptions, ...]:
    """How a run is evaluated; the registration stands beside `copy`, once for each fold."""
    registered = plan.registered and config.method == COPY
    return tuple(
        ProtocolOptions(protocol, plan.support, plan.shots, registered=registered)
        for protocol in plan.protocols
    )


def _flags(plan: Plan, dataset: PreparedDataset) -> Iterator[tuple[Setting, RunFlags]]:
    """The flags of `dpcenet train` for every setting, fold and seed."""
    for setting, fold, seed in product(plan.settings, plan.folds, plan.seeds):
        yield (
            setting,
            RunFlags(
                data=dataset.folder,
                fold=fold,
                folds=plan.of_folds,
                scheme=plan.scheme,
                setting=setting.setting,
                test_labels=_values(dataset, setting),
                exclusion=plan.exclusion,
                seed=seed,
            ),
        )


def _values(dataset: PreparedDataset, setting: Setting) -> tuple[int, ...]:
    """Label values of a setting's labels."""
    by_name = {name: value for value, name in dataset.labels.items()}
    missing = [name for name in setting.labels if name not in by_name]
    if missing:
        raise ConfigError(
            f"{dataset.folder}: no label {', '.join(missing)}; it has {', '.join(by_name)}. "
            "Prepare it with those names (--name), or change the plan"
        )
    return tuple(by_name[name] for name in setting.labels)


def _key(
    config: Config,
    flags: RunFlags,
    rules: tuple[ProtocolOptions, ...],
    data_hash: str,
    weights: str,
) -> str:
    """sha256 of what decides the numbers, except the code."""
    options = config.options
    if options.trunk is not None and options.trunk.weights:
        shipped = options.trunk.weights == SHIPPED
        options = options.with_weights(SHIPPED_SHA256 if shipped else weights)
    plain = config_to_dict(replace(config, options=options))
    return hash_of(
        {
            "config": plain,
            "flags": vars(flags) | {"data": data_hash},
            "rules": [vars(rule) for rule in rules],
        }
    )


def _slug(text: str) -> str:
    """A row's name as part of a folder's: letters, digits and dashes."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")
