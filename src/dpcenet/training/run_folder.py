"""A run folder: what was trained, from what, and how it went.

RUN/run.json                 config, fold, setting, seed, data, versions, commit
RUN/log.jsonl                a line for each logged step
RUN/checkpoint.safetensors   the newest state; RUN/trunk.safetensors where the trunk is frozen
RUN/checks.json              checks on held-out episodes, where the preset asks for them
RUN/scores-<protocol>.csv    one row for each case and label, from `dpcenet evaluate`
RUN/summary-<protocol>.json  their means
RUN/adapt.json               of a network that `dpcenet adapt` made: its checks, and the state kept
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from dpcenet.data.splits import Fold, Scheme, make_fold
from dpcenet.data.store import PreparedDataset
from dpcenet.errors import RunError
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.fuse_batch_norm import ready_to_predict
from dpcenet.system.device import Precision
from dpcenet.system.environment import versions
from dpcenet.system.files import hash_of, read_json, write_json
from dpcenet.system.validated import validated
from dpcenet.training.checkpoint import load_checkpoint, restore
from dpcenet.training.config import Config, config_to_dict, parse_config
from dpcenet.volumes.record import Preprocessing

FORMAT = 1
ADAPTED = "adapt.json"
_AGAIN = "train into another folder"


@dataclass(frozen=True)
class RunFlags:
    """The flags of `dpcenet train` that are not part of a preset.

    Attributes:
        data: folder of the prepared data set.
        fold: which fold is kept out, or None to train on every case.
        folds: in how many folds the cases are divided.
        scheme: the written form of the folds.
        setting: 1 or 2.
        test_labels: labels tested; Setting 2 removes the slices that show them.
        exclusion: the rule of Setting 2.
        seed: of weights and episodes.
    """

    data: Path
    fold: int | None = None
    folds: int = 5
    scheme: Scheme = "disjoint"
    setting: Literal[1, 2] = 1
    test_labels: tuple[int, ...] = ()
    exclusion: Literal["any", "all"] = "any"
    seed: int = 0


@dataclass(frozen=True)
class _RunRecord:
    """What is used of run.json."""

    config: dict[str, Any]
    flags: RunFlags
    precision: Precision = "float32"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: dict[int, str] = field(default_factory=dict)
    identity: str = ""
    data_hash: str = ""
    versions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    config: Config
    flags: RunFlags
    facts: dict[str, Any]

    @property
    def preprocessing(self) -> Preprocessing:
        """The rules by which its training scans were prepared."""
        return Preprocessing(**self.facts.get("preprocessing", {}))

    @property
    def precision(self) -> Precision:
        """What the trunk computes in; chosen once, so that a resumed run computes the same."""
        precision: Precision = self.facts.get("precision", "float32")
        return precision

    def computing_in(self, precision: Precision) -> Run:
        """The same run in another precision; "auto" keeps its own."""
        chosen = self.precision if precision == "auto" else precision
        return dataclasses.replace(self, facts={**self.facts, "precision": chosen})

    def make_fold(self, dataset: PreparedDataset) -> Fold:
        """The fold of this run.

        Raises:
            RunError: the run was trained on every case, so none is left to test.
        """
        if self.flags.fold is None:
            raise RunError(
                f"{self.folder}: trained on every case, so none is left to evaluate on; "
                "train with --fold"
            )
        return fold_of(self.flags, dataset)

    def load_method(self, device: torch.device, fast: bool = True) -> Method:
        """The trained method, ready to predict.

        Args:
            device: where it goes.
            fast: in the form of `nn.folding`; else with the layers that were trained.

        Raises:
            RunError: no checkpoint was written yet, or it does not fit.
        """
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is None:
            raise RunError(f"{self.folder}: no checkpoint yet; run `dpcenet train` first")
        method = build_method(self.config.method, self.config.options.without_weights())
        restore(checkpoint.to_predict, method)
        if fast:
            ready_to_predict(method, self.precision == "bfloat16")
        return method.to(device).eval()

    def checked_cut(self) -> float:
        """The cut of the probability that the check on held-out episodes chose.

        Raises:
            RunError: the training made no such check.
        """
        checkpoint = load_checkpoint(self.folder)
        check = None if checkpoint is None else checkpoint.kept.chosen
        if check is None:
            raise RunError(
                f"{self.folder}: no check chose a cut; train with --set train.validation.every=250"
            )
        return check.cut


def fold_of(flags: RunFlags, dataset: PreparedDataset) -> Fold:
    """The fold that the flags name; there must be one."""
    assert flags.fold is not None
    return make_fold(
        [case.name for case in dataset.cases],
        flags.fold,
        flags.scheme,
        flags.folds,
        dataset.origin.folds,
        dataset.origin.subjects,
    )


def create_run(
    folder: Path,
    config: Config,
    flags: RunFlags,
    dataset: PreparedDataset,
    precision: Precision,
) -> Run:
    """Make a run folder, or open the same run again.

    Args:
        folder: of the run.
        config: the resolved preset.
        flags: of the command.
        dataset: what it is trained on; its preprocessing rules go with the run.
        precision: of the trunk, as chosen for this device.

    Raises:
        RunError: the folder holds another run.
        DatasetError: the fold has too few cases.
    """
    plain_flags = {**dataclasses.asdict(flags), "data": str(flags.data.resolve())}
    plain = {"config": config_to_dict(config), "flags": plain_flags, "data_hash": dataset.hash}
    if flags.fold is not None:
        fold_of(flags, dataset)  # or a fold that cannot be would leave a folder behind
    identity = hash_of({**plain, "flags": {**plain_flags, "data": ""}})
    if (folder / "run.json").exists():
        run = open_run(folder)
        if run.facts.get("identity") != identity:
            raise RunError(
                f"{folder}: holds a run of {run.config.preset} with other settings; choose another "
                "--run folder, or delete this one"
            )
        return run
    facts = {
        "format": FORMAT,
        "identity": identity,
        **plain,
        "precision": precision,
        "dataset": dataset.origin.name,
        "preprocessing": dataset.preprocessing,
        "labels": {str(value): name for value, name in dataset.labels.items()},
        "versions": versions(),
    }
    write_json(folder / "run.json", facts)
    return Run(folder, config, flags, facts)


def open_run(folder: Path) -> Run:
    """Open a run folder.

    Raises:
        RunError: the folder is not a run, or of a format that this version does not know.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(f"{folder}: not a run (no run.json); make one with `dpcenet train`")
    facts = read_json(path, error=RunError, remedy=_AGAIN)
    if facts.get("format") != FORMAT:
        raise RunError(f"{path}: format {facts.get('format')!r}; this version reads {FORMAT}")
    record = validated(_RunRecord, facts, path, error=RunError, remedy=_AGAIN, extra="ignore")
    config = parse_config(record.config, str(record.config.get("preset", "")), source=str(path))
    return Run(folder, config, record.flags, facts)
