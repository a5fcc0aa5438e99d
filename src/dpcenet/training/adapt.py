"""`dpcenet adapt`: the in-context network learns from a person's own scans, without a label.

It trains on supervoxels of the scans and on made-up pairs in turn. Whether that helped is measured
by the reverse check: what one scan shows is sought in the others, and from there back in the first.
The best state is kept, which may be the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import torch

from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions, Pairs
from dpcenet.errors import ConfigError, RunError
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.incontext.model import InContext
from dpcenet.methods.incontext.weights import Options as ShippedOptions
from dpcenet.methods.incontext.weights import build as build_shipped
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.system.files import read_json, write_json
from dpcenet.system.progress import Advance, progress_bar
from dpcenet.training.checkpoint import CHECKPOINT, save_checkpoint
from dpcenet.training.config import load_preset
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig
from dpcenet.training.reverse_check import Check, encoded, reverse_check, what_to_check
from dpcenet.training.run_folder import ADAPTED, Run, RunFlags, create_run, open_run
from dpcenet.training.supervoxel_pairs import ScanPairs

PRESET, SHIPPED = "incontext/adapted", "shipped"
FIRST_CHECK = 0.15  # of the time: the first check seeks in as many scans as this allows
ALL_CHECKS = 0.4  # of the time that is left then: the later checks become fewer if need be


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt.

    Attributes:
        minutes: in all, from the start to the last file. Where a single check or step takes
            longer, it is still made.
        checks: into how many parts the training is cut, at most; each ends with a reverse check.
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
        precision: "auto" takes bfloat16 where the device computes it in hardware.
        quiet: no progress bar.

    Raises:
        ConfigError: `start` is not an in-context network.
        DatasetError: fewer than two scans, or no case of that name.
        RunError: the folder was adapted before.
    """
    options = options or AdaptOptions()
    clock = _Clock(60 * options.minutes)
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
    training = PairTraining(network, _training_config(network, options, run.precision), place)
    whole = max(1, round(clock.seconds))
    with progress_bar("adapt (seconds)", whole, min(whole, round(clock.passed)), quiet) as bar:
        _Adapting(run, training, pairs, check, options, made, clock, bar).go()
    return run


def kept_state(folder: Path) -> str:
    """In a line, which state of a run was kept, and why."""
    history = read_json(folder / ADAPTED, {"checks": list, "kept": int}, error=RunError)
    first, best = history["checks"][0], max(history["checks"], key=lambda line: line["reverse"])
    scores = f"reverse check {100 * first['reverse']:.1f} % before, {100 * best['reverse']:.1f} %"
    if history["kept"] == 0:
        return f"{folder}: training did not help ({scores} at best); the network is as it was"
    return f"{folder}: step {history['kept']} is kept ({scores} then); segment with --run {folder}"


@dataclass(frozen=True)
class _Clock:
    """How much of the time is left."""

    seconds: float
    began: float = field(default_factory=lambda: monotonic())

    @property
    def passed(self) -> float:
        return monotonic() - self.began

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - self.passed)


@dataclass
class _Adapting:
    """Trains part by part; after each the averaged weights are kept if they are the best so far."""

    run: Run
    training: PairTraining
    pairs: Callable[[int], Pairs]
    check: Check
    options: AdaptOptions
    made: dict[str, Any]
    clock: _Clock
    bar: Advance
    checks: list[dict[str, float]] = field(default_factory=list)
    kept: int = 0

    def go(self) -> None:
        predictor = Predictor(
            self.training.average.eval(), self.run.precision, self.training.device
        )
        each = self._first_check(predictor)
        parts = self.options.checks
        parts = max(1, min(parts, int(ALL_CHECKS * self.clock.left / max(each, 1e-6))))
        for part in range(parts):
            ahead = parts - part
            loss = self._train_for(self.clock.left / ahead - each, f"part {part + 1} of {parts}")
            began = self.clock.passed
            self._show("reverse check")
            slices = encoded(predictor, self.check.case)
            score = fmean(self._found_back(predictor, slices, other) for other in self.check.others)
            self._keep({"step": self.training.step, "loss": loss, "reverse": score})
            each = max(each, self.clock.passed - began)
            if len(self.checks) - 1 - self.kept >= self.options.patience:
                break

    def _first_check(self, predictor: Predictor) -> float:
        """The score before training, over as many scans as there is time for; its seconds."""
        scores, began = list[float](), self.clock.passed
        slices = encoded(predictor, self.check.case)
        for number, other in enumerate(self.check.others, start=1):
            self._show(f"reverse check before training, scan {number}")
            scores.append(self._found_back(predictor, slices, other))
            each = (self.clock.passed - began) / number
            if (number + 1) * each > FIRST_CHECK * self.clock.seconds:
                break
        self.check = replace(self.check, others=self.check.others[: len(scores)])
        self._keep({"step": 0, "reverse": fmean(scores)})
        return self.clock.passed - began

    def _found_back(self, predictor: Predictor, slices: EncodedScan, other: PreparedCase) -> float:
        """The reverse check by way of one scan; `slices` are those of the checked one."""
        return reverse_check(predictor, replace(self.check, others=(other,)), slices)

    def _train_for(self, seconds: float, part: str) -> float:
        """Trains that long, one step at least; the mean loss."""
        losses, end = list[torch.Tensor](), self.clock.passed + seconds
        while not losses or self.clock.passed < end:
            losses.append(self.training.advance(self.pairs(self.training.step)))
            self._show(f"training, {part}, step {self.training.step}")
        return float(torch.stack(losses).mean())

    def _keep(self, line: dict[str, float]) -> None:
        """Write how the check came out, and the weights if they are the best so far."""
        self.checks.append(line)
        if line["reverse"] > self.checks[self.kept]["reverse"] or len(self.checks) == 1:
            self.kept = len(self.checks) - 1
            save_checkpoint(self.run.folder, self.training.average, None, self.training.step)
        history = {
            "options": self.made,
            "checked scans": len(self.check.others),
            "checks": self.checks,
            "kept": self.checks[self.kept]["step"],
        }
        write_json(self.run.folder / ADAPTED, history)

    def _show(self, doing: str) -> None:
        best = ""
        if self.checks:
            best = f", best reverse check {100 * self.checks[self.kept]['reverse']:.1f} %"
        self.bar(min(round(self.clock.passed), max(1, round(self.clock.seconds))), doing + best)


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
