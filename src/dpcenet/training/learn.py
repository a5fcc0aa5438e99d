"""Learning from labelled scans before scans are segmented from them.

The network trains on pairs of slices of the labelled scans and on made-up pairs in turn. Whether
that helped is measured by the reverse check: the labels are sought in scans to be segmented, and
from there back in the labelled scan. The best state is kept, which may be the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np

from dpcenet.data.synthetic.pairs import PairOptions
from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.incontext.model import InContext
from dpcenet.system.progress import progress_bar
from dpcenet.system.words import counted
from dpcenet.training.checked_training import (
    AdaptOptions,
    CheckedTraining,
    Clock,
    mixed_with_made_up,
    too_short,
    training_config,
)
from dpcenet.training.incontext_trainer import PairTraining
from dpcenet.training.labelled_pairs import DrawnScan, LabelledPairs
from dpcenet.training.reverse_check import CHECKED, Check, CheckedScan

STEPS = 200  # the gain is largest there; after 400 it was smaller each time (docs/log.md)
CHECKS = 2
"""Reverse checks while learning, halfway and at the end. A fall halfway does not end it: after 100
steps the check had fallen where both it and the true Dice had risen by 200 (docs/log.md)."""


def learn_options(minutes: float, seed: int = 0) -> AdaptOptions:
    """How `segment --learn` trains, for so many minutes at most."""
    return AdaptOptions(minutes, STEPS, checks=CHECKS, patience=CHECKS, seed=seed)


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes:
        network: with the state that was kept, ready to predict; None where that is the one before.
        checks: how the reverse check came out before and after each part: step, mean loss, Dice.
        kept: step of the state that was kept; 0 is the one before.
        checked: number of scans in which the labels were sought.
    """

    network: InContext | None
    checks: tuple[dict[str, float], ...]
    kept: int
    checked: int

    def __str__(self) -> str:
        if short := too_short(self.checks):
            return short
        before, best = (100 * each["reverse"] for each in (self.checks[0], self._best))
        if self.network is None:
            return f"learning did not help (reverse check {before:.1f} %); the network is as it was"
        steps = counted(self.kept, "step")
        gain = f"reverse check {before:.1f} % before, {best:.1f} % after {steps}"
        return f"learnt from the labelled scans: {gain}"

    @property
    def _best(self) -> dict[str, float]:
        return next(each for each in self.checks if each["step"] == self.kept)


def learn(
    predictor: Predictor,
    labelled: Sequence[LabelledScan],
    values: Sequence[int],
    others: Sequence[CheckedScan],
    options: AdaptOptions,
    clock: Clock | None = None,
    quiet: bool = False,
) -> Learnt:
    """Train a copy of an in-context network on labelled scans.

    Args:
        predictor: with the network; it is not changed.
        labelled: the labelled scans, with their images.
        values: the labels that count.
        others: scans to be segmented, prepared like the labelled ones; the first few serve the
            reverse check, in which the labels of the labelled scan that shows most are sought.
        options: how. Where `steps` end before the time, the same seed gives the same network.
        clock: that runs already; by default it starts now.
        quiet: no progress bar.

    Raises:
        ConfigError: another method, no label, or no scan for the reverse check.
    """
    clock = clock or Clock(60 * options.minutes)
    if not isinstance(predictor.method, InContext):
        name = type(predictor.method).__name__
        raise ConfigError(f"--learn: is for the in-context network; this one is {name}")
    if not others:
        raise ConfigError("--learn: takes a scan to segment beside the labelled ones")
    network = deepcopy(predictor.method)
    scans = [drawn_scan(scan, values) for scan in labelled]
    check = _check(scans, others)
    training = PairTraining(
        network, training_config(network, options, predictor.precision), predictor.device
    )
    shape = PairOptions(size=network.options.size)
    of_scans = LabelledPairs(
        scans, options.seed, options.batch, replace(shape, targets=min(3, len(values)))
    )
    pairs = mixed_with_made_up(of_scans, options, shape, predictor.device)
    checking = replace(predictor, method=training.average.eval())
    whole = max(1, round(clock.seconds))
    best = InContext(network.options).to(predictor.device).eval()
    with progress_bar("learn (seconds)", whole, min(whole, round(clock.passed)), quiet) as bar:
        checked = CheckedTraining(training, checking, pairs, check, options, clock, bar)

        def keep(better: bool) -> None:
            if better:
                best.load_state_dict(training.average.state_dict())

        checked.keep = keep
        checked.go()
    step = int(checked.best["step"])
    return Learnt(best if step else None, tuple(checked.checks), step, len(checked.check.others))


def _check(scans: Sequence[DrawnScan], others: Sequence[CheckedScan]) -> Check:
    """Seek the labels of the scan that shows most of them, the first of such, in the others."""
    shown = [tuple(int(value) for value in np.unique(scan.label) if value) for scan in scans]
    most = max(range(len(scans)), key=lambda n: len(shown[n]))
    return Check(scans[most], scans[most].label, shown[most], tuple(others[:CHECKED]))


def drawn_scan(scan: LabelledScan, values: Sequence[int]) -> DrawnScan:
    """A labelled scan with its labels numbered 1, 2, … in the order of `values`."""
    number = np.zeros(256, np.uint8)
    number[list(values)] = np.arange(1, 1 + len(values))
    image = scan.slices.images[:, 0].cpu().numpy()
    return DrawnScan(scan.name, image, number[scan.label], scan.slices.spacing)
