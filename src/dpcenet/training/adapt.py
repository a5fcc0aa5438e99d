"""`dpcenet adapt`: the in-context network learns from a person's own scans, without a label.

It trains on supervoxels of the scans and on made-up pairs in turn. Whether that helped is measured
by the reverse check: what one scan shows is sought in the others, and from there back in the first.
The best state is kept, which may be the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions, Pairs
from dpcenet.errors import ConfigError, DatasetError, RunError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import MatchedSlices
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.incontext.model import InContext
from dpcenet.methods.incontext.weights import Options as ShippedOptions
from dpcenet.methods.incontext.weights import build as build_shipped
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.system.files import read_json, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.training.checkpoint import CHECKPOINT, save_checkpoint
from dpcenet.training.config import load_preset
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig
from dpcenet.training.run_folder import ADAPTED, Run, RunFlags, create_run, open_run
from dpcenet.training.supervoxel_pairs import ScanPairs
from dpcenet.volumes.metrics import dice

PRESET, SHIPPED = "incontext/adapted", "shipped"
STAND_INS = 6  # supervoxels that stand in for organs where no label may be used
CHECKED = 4  # scans in which the reverse check seeks them


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt.

    Attributes:
        minutes: of training, checks not counted.
        checks: into how many parts the time is cut; each ends with a reverse check.
        patience: checks without a gain after which it ends early.
        made_up: of how many batches one is made up, so that what was learnt is not lost.
        batch: pairs of a step.
        learning_rate: AdamW's; it does not fall, as the weights are averaged.
        seed: of the pairs.
    """

    minutes: float = 20.0
    checks: int = 4
    patience: int = 2
    made_up: int = 2
    batch: int = 8
    learning_rate: float = 2e-4
    seed: int = 0


@dataclass(frozen=True)
class Check:
    """What the reverse check seeks, and where.

    Attributes:
        case: the scan in which some regions are known.
        label: (Z, H, W), the regions: its labels, or supervoxels in their place.
        values: of `label`.
        others: scans in which the regions are sought.
    """

    case: PreparedCase
    label: npt.NDArray[np.uint8]
    values: tuple[int, ...]
    others: tuple[PreparedCase, ...]


def adapt(
    flags: RunFlags,
    folder: Path,
    options: AdaptOptions | None = None,
    *,
    start: Path | None = None,
    support: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    quiet: bool = False,
) -> Run:
    """Adapt to the training scans of a prepared data set; the result is a run like any other.

    Args:
        flags: data, fold and seed; labels are not looked at, but for `support`.
        folder: of the run. Killed, it holds the best state so far.
        options: how.
        start: a run of an in-context network to begin with; default the one of the package.
        support: name of a labelled case whose labels serve the reverse check; by default
            supervoxels stand in for them.
        device: "auto", "cpu", "cuda", …
        precision: "auto" takes the faster one, measured.
        quiet: no progress bar.

    Raises:
        ConfigError: `start` is not an in-context network.
        DatasetError: fewer than two scans, or no case of that name.
        RunError: the folder was adapted before.
    """
    options = options or AdaptOptions()
    place = choose_device(device)
    dataset = open_dataset(flags.data)
    network = _network(start, place)
    config, shape = load_preset(PRESET), network.options
    config = replace(config, options=replace(config.options, size=shape.size, widths=shape.widths))
    run = create_run(folder, config, flags, dataset, choose_precision(precision, place))
    if (folder / CHECKPOINT).exists():
        raise RunError(f"{folder}: was adapted before; choose another --run folder")
    names = {case.name for case in dataset.cases}
    if flags.fold is not None:
        names = set(run.make_fold(dataset).train)
    cases = [case for case in dataset.cases if case.name in names]
    check = _what_to_check(cases, None if support is None else dataset.case(support))
    pairs = _pairs(cases, network, options, place)
    made = {**asdict(options), "start": str(start or SHIPPED), "support": support}
    training = PairTraining(network, _training_config(network, options, run.precision), place)
    _train(run, training, pairs, check, options, made, quiet)
    return run


def kept_state(folder: Path) -> str:
    """In a line, which state of a run was kept, and why."""
    history = read_json(folder / ADAPTED, {"checks": list, "kept": int}, error=RunError)
    first, best = history["checks"][0], max(history["checks"], key=lambda line: line["reverse"])
    scores = f"reverse check {100 * first['reverse']:.1f} % before, {100 * best['reverse']:.1f} %"
    if history["kept"] == 0:
        return f"{folder}: training did not help ({scores} at best); the network is as it was"
    return f"{folder}: step {history['kept']} is kept ({scores} then); segment with --run {folder}"


def reverse_check(predictor: Predictor, check: Check) -> float:
    """How well what a scan shows is found back, by way of each of the others: mean Dice."""
    first_look = predictor.at_first_look()
    slices, *others = (
        first_look.encode(case.image, case.spacing) for case in (check.case, *check.others)
    )
    here = LabelledScan(check.case.name, slices, check.label)
    scores = []
    for other in others:
        found = first_look.segment([here], other, MatchedSlices(), check.values)
        for value, mask in found.masks.items():
            there = LabelledScan("other", other, mask.astype(np.uint8))
            back = first_look.segment([there], slices, MatchedSlices(), [1])
            scores.append(dice(back.masks[1], check.label == value))
    return fmean(scores)


def _train(
    run: Run,
    training: PairTraining,
    pairs: Callable[[int], Pairs],
    check: Check,
    options: AdaptOptions,
    made: dict[str, Any],
    quiet: bool,
) -> None:
    """Trains part by part; after each the averaged weights are kept if they are the best so far."""
    predictor = Predictor(training.average.eval(), run.precision, training.device)
    checks: list[dict[str, float]] = []
    kept = 0
    with progress_bar("adapt", options.checks, quiet=quiet) as bar:
        for part in range(options.checks + 1):
            line: dict[str, float] = {"step": training.step}
            if part:
                line["loss"] = _train_for(training, pairs, 60 * options.minutes / options.checks)
                line["step"] = training.step
            line["reverse"] = reverse_check(predictor, check)
            checks.append(line)
            if line["reverse"] > checks[kept]["reverse"] or part == 0:
                kept = part
                save_checkpoint(run.folder, training.average, None, training.step)
            history = {"options": made, "checks": checks, "kept": checks[kept]["step"]}
            write_json(run.folder / ADAPTED, history)
            best = 100 * checks[kept]["reverse"]
            bar(part, f"reverse check {100 * line['reverse']:.1f} %, best {best:.1f} %")
            if part - kept >= options.patience:
                break


def _train_for(training: PairTraining, pairs: Callable[[int], Pairs], seconds: float) -> float:
    """Trains that long, one step at least; the mean loss."""
    losses, started = list[torch.Tensor](), time.monotonic()
    while not losses or time.monotonic() - started < seconds:
        losses.append(training.advance(pairs(training.step)))
    return float(torch.stack(losses).mean())


def _training_config(
    network: InContext, options: AdaptOptions, precision: Precision
) -> PretrainConfig:
    """A learning rate that stays: the number of steps follows from the time."""
    return PretrainConfig(
        seed=options.seed,
        steps=10**9,
        decay=0.0,
        warmup=20,
        batch=options.batch,
        learning_rate=options.learning_rate,
        bfloat16=precision == "bfloat16",
        network=network.options,
    )


def _pairs(
    cases: Sequence[PreparedCase], network: InContext, options: AdaptOptions, device: torch.device
) -> Callable[[int], Pairs]:
    """Batch n: made up where n is a multiple of `made_up`, else of the scans."""
    shape = PairOptions(size=network.options.size)
    of_scans = ScanPairs(cases, options.seed, options.batch, shape)
    made_up = PairGenerator(options.seed, options.batch, shape, device)

    def pairs(number: int) -> Pairs:
        return made_up(number) if number % options.made_up == 0 else of_scans(number).to(device)

    return pairs


def _what_to_check(cases: Sequence[PreparedCase], labelled: PreparedCase | None) -> Check:
    """Seek the labels of the labelled case, or large supervoxels of the first, in other scans."""
    case = labelled or cases[0]
    others = tuple(other for other in cases if other.name != case.name)[:CHECKED]
    if not others:
        raise DatasetError("to adapt takes two scans or more")
    label = case.label if labelled else stand_ins(case.supervoxels)
    values = tuple(int(value) for value in np.unique(label) if value)
    return Check(case, label, values, others)


def stand_ins(supervoxels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The largest supervoxels but the very largest, which is what lies between the organs.

    Args:
        supervoxels: (Z, H, W), 0 outside the body.

    Returns:
        (Z, H, W) uint8, 1 … `STAND_INS`.
    """
    sizes = np.bincount(supervoxels.ravel())
    sizes[0] = 0
    chosen = np.argsort(-sizes, kind="stable")[1 : 1 + STAND_INS]
    number = np.zeros(len(sizes), dtype=np.uint8)
    number[chosen] = np.where(sizes[chosen] > 0, np.arange(1, 1 + len(chosen)), 0)
    label: npt.NDArray[np.uint8] = number[supervoxels]
    return label


def _network(start: Path | None, device: torch.device) -> InContext:
    """The network to begin with.

    Raises:
        ConfigError: it is not an in-context network.
    """
    method = (
        open_run(start).load_method(device) if start else build_shipped(ShippedOptions()).to(device)
    )
    if not isinstance(method, InContext):
        raise ConfigError(
            f"--start {start}: is no in-context network; `dpcenet train` trains the other methods"
        )
    return method
