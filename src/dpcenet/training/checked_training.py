"""Training that the reverse check watches: part by part, and the best state is kept.

`dpcenet adapt` trains this way. `segment --learn` trains on other pairs, and checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from statistics import fmean
from time import monotonic

import torch

from dpcenet.data.store import PreparedCase
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions, Pairs
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.base import Method
from dpcenet.methods.incontext.model import InContext
from dpcenet.system.device import Precision
from dpcenet.system.progress import Advance
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig
from dpcenet.training.reverse_check import Check, encoded, reverse_check

FIRST_CHECK = 0.15  # of the time: the first check seeks in as many scans as this allows
ALL_CHECKS = 0.4  # of the time that is left then: the later checks become fewer if need be
LAST_CHECK = 1.5  # times a check: with less time left, no further part is begun
LATE = 1.1  # of the time: a check that still goes on then is given up


@dataclass(frozen=True)
class LearnOptions:
    """How to train on a few scans.

    Attributes:
        minutes: in all, at most.
        steps: the most steps in all; None trains as long as there is time.
        made_up: of how many batches one is made up, so that what was learnt is not lost.
        batch: pairs of a step.
        learning_rate: AdamW's; it does not fall, as the weights are averaged.
        seed: of the pairs.
    """

    minutes: float = 10.0
    steps: int | None = None
    made_up: int = 2
    batch: int = 8
    learning_rate: float = 2e-4
    seed: int = 0


@dataclass(frozen=True)
class AdaptOptions(LearnOptions):
    """How to adapt; the minutes are those from the start to the last file.

    Training for which no check would have time is not begun, and a check that goes on for more
    than a tenth longer is given up: what was trained since the check before is lost, and the best
    state stays.

    Attributes:
        checks: into how many parts the training is cut, at most; each ends with a reverse check.
        patience: checks without a gain after which it ends early.
    """

    minutes: float = 20.0
    checks: int = 4
    patience: int = 2


class OutOfTime(Exception):
    """The time ended in the middle of a check, which then says nothing."""


@dataclass(frozen=True)
class Clock:
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
class CheckedTraining:
    """Trains part by part; after each the averaged weights are kept if they are the best so far.

    Attributes:
        training: of the network.
        predictor: that checks, with the averaged weights of `training`.
        pairs: batch n.
        check: what the reverse check seeks, and where.
        options: how.
        clock: of the whole command.
        bar: shows the progress, in seconds.
        keep: called after each check, with whether the weights are the best so far.
        checks: how they came out: step, mean loss before it, reverse check.
        kept: number of the best check.
        latest: seconds after which a check is given up. The first one has less: another as long,
            and training, must fit in after it.
    """

    training: PairTraining
    predictor: Predictor
    pairs: Callable[[int], Pairs]
    check: Check
    options: AdaptOptions
    clock: Clock
    bar: Advance
    keep: Callable[[bool], None] = lambda _: None
    checks: list[dict[str, float]] = field(default_factory=list)
    kept: int = 0
    latest: float = field(init=False)

    def __post_init__(self) -> None:
        self.latest = LATE * self.clock.seconds

    def go(self) -> None:
        """Train until the time, the steps or the patience end."""
        with suppress(OutOfTime):
            self._train_in_parts(self._first_check())

    def _train_in_parts(self, each: float) -> None:
        """Train and check in turn; a check takes about `each` seconds."""
        parts = min(self.options.checks, self.training.config.steps)
        parts = max(1, min(parts, int(ALL_CHECKS * self.clock.left / max(each, 1e-6))))
        for part in range(parts):
            if self.clock.left <= LAST_CHECK * each:
                break
            ahead = parts - part
            loss = self._train_for(self.clock.left / ahead - each, ahead, f"{part + 1} of {parts}")
            began = self.clock.passed
            self._show("reverse check")
            slices = self._encoded()
            score = fmean(self._found_back(slices, other) for other in self.check.others)
            self._note({"step": self.training.step, "loss": loss, "reverse": score})
            each = max(each, self.clock.passed - began)
            if len(self.checks) - 1 - self.kept >= self.options.patience:
                break

    @property
    def best(self) -> dict[str, float]:
        """The best check so far; step 0 where there was no time for any."""
        return self.checks[self.kept] if self.checks else {"step": 0}

    def _first_check(self) -> float:
        """The score before training, over as many scans as there is time for; its seconds."""
        self._in_time()
        self.latest = min(self.latest, self.clock.passed + self.clock.left / (1 + LAST_CHECK))
        scores, began = list[float](), self.clock.passed
        slices = self._encoded()
        for number, other in enumerate(self.check.others, start=1):
            self._show(f"reverse check before training, scan {number}")
            scores.append(self._found_back(slices, other))
            each = (self.clock.passed - began) / number
            if (number + 1) * each > FIRST_CHECK * self.clock.seconds:
                break
        self.latest = LATE * self.clock.seconds
        self.check = replace(self.check, others=self.check.others[: len(scores)])
        self._note({"step": 0, "reverse": fmean(scores)})
        return self.clock.passed - began

    def _encoded(self) -> EncodedScan:
        """The checked scan."""
        with interrupted(self.predictor.method, self._in_time):
            return encoded(self.predictor, self.check.case)

    def _found_back(self, slices: EncodedScan, other: PreparedCase) -> float:
        """The reverse check by way of one scan; `slices` are those of the checked one."""
        check = replace(self.check, others=(other,))
        with interrupted(self.predictor.method, self._in_time):
            return reverse_check(self.predictor, check, slices)

    def _in_time(self) -> None:
        """Raises `OutOfTime` when a check goes on for longer than it may."""
        if self.clock.passed > self.latest:
            raise OutOfTime

    def _train_for(self, seconds: float, ahead: int, part: str) -> float:
        """Trains that long, one step at least, and no more than a part's share of the steps that
        are left; the mean loss."""
        losses, end = list[torch.Tensor](), self.clock.passed + seconds
        most = self.training.config.steps - self.training.step
        while not losses or (self.clock.passed < end and len(losses) * ahead < most):
            losses.append(self.training.advance(self.pairs(self.training.step)))
            self._show(f"training, part {part}, step {self.training.step}")
        return float(torch.stack(losses).mean())

    def _note(self, line: dict[str, float]) -> None:
        """Note how a check came out, and whether the weights are the best so far."""
        self.checks.append(line)
        better = len(self.checks) == 1 or line["reverse"] > self.best["reverse"]
        if better:
            self.kept = len(self.checks) - 1
        self.keep(better)

    def _show(self, doing: str) -> None:
        best = ""
        if self.checks:
            best = f", best reverse check {100 * self.best['reverse']:.1f} %"
        self.bar(min(round(self.clock.passed), max(1, round(self.clock.seconds))), doing + best)


@contextmanager
def interrupted(method: Method, in_time: Callable[[], None]) -> Iterator[None]:
    """While it lasts, `in_time` is called before each layer that computes, and may raise.

    On a busy machine one scan takes minutes: between scans would be too late to look at the clock.
    """
    with ExitStack() as hooks:
        for module in method.modules():
            hooks.enter_context(module.register_forward_pre_hook(lambda *_: in_time()))
        yield


def too_short(checks: Sequence[dict[str, float]]) -> str:
    """That the time was too short to train and to check what came of it; "" where it was not."""
    if len(checks) > 1:
        return ""
    return "the time was too short to train and check; the network is as it was: give more minutes"


def training_config(
    network: InContext, options: LearnOptions, precision: Precision
) -> PretrainConfig:
    """A learning rate that stays: the number of steps may follow from the time."""
    return PretrainConfig(
        seed=options.seed,
        steps=options.steps or 10**9,
        decay=0.0,
        warmup=20,
        batch=options.batch,
        learning_rate=options.learning_rate,
        bfloat16=precision == "bfloat16",
        network=network.options,
    )


def mixed_with_made_up(
    of_scans: Callable[[int], Pairs],
    options: LearnOptions,
    shape: PairOptions,
    device: torch.device,
) -> Callable[[int], Pairs]:
    """Batch n: made up where n is a multiple of `made_up`, else of the scans."""
    made_up = PairGenerator(options.seed, options.batch, shape, device)

    def pairs(number: int) -> Pairs:
        return made_up(number) if number % options.made_up == 0 else of_scans(number).to(device)

    return pairs
