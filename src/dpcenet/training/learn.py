"""Learning from labelled scans before scans are segmented from them.

The network trains on pairs of slices of the labelled scans and on made-up pairs in turn. Nothing
says here whether that helped: each label of each scan then takes the best of several answers; see
`segmentation.better_answers`.
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
    Clock,
    LearnOptions,
    mixed_with_made_up,
    training_config,
)
from dpcenet.training.incontext_trainer import PairTraining
from dpcenet.training.labelled_pairs import DrawnScan, LabelledPairs

STEPS = 200  # the gain is largest there; after 400 it was smaller each time (docs/log.md)


def learn_options(minutes: float, seed: int = 0) -> LearnOptions:
    """How `segment --learn` trains, for so many minutes at most."""
    return LearnOptions(minutes, STEPS, seed=seed)


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes:
        network: the mean of its latest weights, ready to predict.
        steps: of training.
        seconds: that they took.
    """

    network: InContext
    steps: int
    seconds: float

    def __str__(self) -> str:
        took = f"{counted(self.steps, 'step')} in {self.seconds / 60:.1f} minutes"
        return f"learnt from the labelled scans: {took}"


def learn(
    predictor: Predictor,
    labelled: Sequence[LabelledScan],
    values: Sequence[int],
    options: LearnOptions,
    quiet: bool = False,
) -> Learnt:
    """Train a copy of an in-context network on labelled scans, for one step at least.

    Args:
        predictor: with the network; it is not changed.
        labelled: the labelled scans, with their images.
        values: the labels that count.
        options: how; nothing is checked. Where `steps` end before the time, the same seed gives the
            same network.
        quiet: no progress bar.

    Raises:
        ConfigError: another method, labelled scans without images, or no label.
    """
    if not isinstance(predictor.method, InContext):
        name = type(predictor.method).__name__
        raise ConfigError(f"--learn: is for the in-context network; this one is {name}")
    check_images(labelled)
    clock = Clock(60 * options.minutes)
    network = deepcopy(predictor.method)
    training = PairTraining(
        network, training_config(network, options, predictor.precision), predictor.device
    )
    shape = PairOptions(size=network.options.size)
    of_scans = LabelledPairs(
        [drawn_scan(scan, values) for scan in labelled],
        options.seed,
        options.batch,
        replace(shape, targets=min(3, len(values))),
    )
    pairs = mixed_with_made_up(of_scans, options, shape, predictor.device)
    whole = training.config.steps
    with progress_bar("learn (steps)", whole, quiet=quiet) as bar:
        while not training.step or (training.step < whole and clock.left > 0):
            training.advance(pairs(training.step))
            bar(training.step, f"{clock.left / 60:.0f} minutes at most")
    return Learnt(training.average.eval(), training.step, clock.passed)


def check_images(labelled: Sequence[LabelledScan]) -> None:
    """Refuse labelled scans without images: there is nothing to learn from, or to encode anew.

    Raises:
        ConfigError: the message says what to do.
    """
    if any(scan.slices.windows is not None for scan in labelled):
        raise ConfigError(
            "--learn: the task file holds no images; make it with `dpcenet task create "
            "--with-images`"
        )


def drawn_scan(scan: LabelledScan, values: Sequence[int]) -> DrawnScan:
    """A labelled scan with its labels numbered 1, 2, … in the order of `values`."""
    number = np.zeros(256, np.uint8)
    number[list(values)] = np.arange(1, 1 + len(values))
    image = scan.slices.images[:, 0].cpu().numpy()
    return DrawnScan(scan.name, image, number[scan.label], scan.slices.spacing)
