"""`dpcenet adapt`: the in-context network learns from a person's own scans, without a label.

It trains on supervoxels of the scans and on made-up pairs in turn. Whether that helped is measured
by the reverse check: what one scan shows is sought in the others, and from there back in the first.
The best state is kept, which may be the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.data.synthetic.pairs import PairOptions, Pairs
from dpcenet.errors import ConfigError, RunError
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.incontext.model import InContext
from dpcenet.methods.incontext.weights import Options as ShippedOptions
from dpcenet.methods.incontext.weights import build as build_shipped
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.system.files import read_json, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.training.checked_training import (
    AdaptOptions,
    CheckedTraining,
    Clock,
    mixed_with_made_up,
    too_short,
    training_config,
)
from dpcenet.training.checkpoint import CHECKPOINT, save_checkpoint
from dpcenet.training.config import load_preset
from dpcenet.training.incontext_trainer import PairTraining
from dpcenet.training.reverse_check import what_to_check
from dpcenet.training.run_folder import ADAPTED, Run, RunFlags, create_run, open_run
from dpcenet.training.supervoxel_pairs import ScanPairs

PRESET, SHIPPED = "incontext/adapted", "shipped"


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
    began: float | None = None,
) -> Run:
    """Adapt to the training scans of a prepared data set; the result is a run like any other.

    Args:
        flags: data, fold and seed; labels are not looked at, but for `support`.
        folder: of the run. Killed, it holds the best state so far: at first the one to begin with.
        options: how.
        start: a run of an in-context network to begin with; default the one of the package.
        support: name of a labelled case whose labels serve the reverse check; by default
            supervoxels stand in for them.
        device: "auto", "cpu", "cuda", …
        precision: "auto" takes bfloat16 where the device computes it in hardware.
        quiet: no progress bar.
        began: `time.monotonic()` when the time began to count, such as before torch was loaded;
            default now.

    Raises:
        ConfigError: `start` is not an in-context network.
        DatasetError: fewer than two scans, or no case of that name.
        RunError: the folder was adapted before.
    """
    options = options or AdaptOptions()
    clock = Clock(60 * options.minutes)
    if began is not None:
        clock = replace(clock, began=began)
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
    check = what_to_check(cases, None if support is None else dataset.case(support))
    pairs = _pairs(cases, network, options, place)
    made = {**asdict(options), "start": str(start or SHIPPED), "support": support}
    training = PairTraining(network, training_config(network, options, run.precision), place)
    predictor = Predictor(training.average.eval(), run.precision, place).at_first_look()
    whole = max(1, round(clock.seconds))
    with progress_bar("adapt (seconds)", whole, min(whole, round(clock.passed)), quiet) as bar:
        checked = CheckedTraining(training, predictor, pairs, check, options, clock, bar)
        checked.keep = _keep(run, checked, made)
        checked.keep(True)
        checked.go()
    return run


def kept_state(folder: Path) -> str:
    """In a line, which state of a run was kept, and why."""
    history = read_json(folder / ADAPTED, {"checks": list, "kept": int}, error=RunError)
    if short := too_short(history["checks"]):
        return f"{folder}: {short}"
    first, best = history["checks"][0], max(history["checks"], key=lambda line: line["reverse"])
    scores = f"reverse check {100 * first['reverse']:.1f} % before, {100 * best['reverse']:.1f} %"
    if history["kept"] == 0:
        return f"{folder}: training did not help ({scores} at best); the network is as it was"
    return f"{folder}: step {history['kept']} is kept ({scores} then); segment with --run {folder}"


def _keep(run: Run, checked: CheckedTraining, made: dict[str, Any]) -> Callable[[bool], None]:
    """Writes how the checks came out, and the weights whenever they are the best so far."""

    def keep(better: bool) -> None:
        if better:
            save_checkpoint(run.folder, checked.training.average, None, checked.training.step)
        history = {
            "options": made,
            "checked scans": len(checked.check.others),
            "checks": checked.checks,
            "kept": checked.best["step"],
        }
        write_json(run.folder / ADAPTED, history)

    return keep


def _pairs(
    cases: Sequence[PreparedCase], network: InContext, options: AdaptOptions, device: torch.device
) -> Callable[[int], Pairs]:
    """Pairs of the scans and made-up ones."""
    shape = PairOptions(size=network.options.size)
    of_scans = ScanPairs(cases, options.seed, options.batch, shape)
    return mixed_with_made_up(of_scans, options, shape, device)


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
