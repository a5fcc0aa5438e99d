"""Learning from labelled scans keeps the better of before and after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dpcenet.errors import ConfigError
from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import SlicePlan
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.training import checked_training
from dpcenet.training.checked_training import AdaptOptions
from dpcenet.training.labelled_pairs import DrawnScan
from dpcenet.training.learn import drawn_scan, learn, learn_options
from dpcenet.training.reverse_check import Check

QUICK = AdaptOptions(minutes=60, steps=4, checks=2, batch=1)
VALUES = (3, 7)


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(InContext(NetworkOptions(size=32, widths=(4, 8, 8, 8))).eval())


@pytest.fixture
def labelled(predictor: Predictor) -> LabelledScan:
    image = np.random.default_rng(0).normal(size=(5, 32, 32)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    label[1:4, 4:16, 4:16], label[1:4, 16:28, 16:28], label[1:4, :4, :4] = 7, 3, 9
    return LabelledScan("one", predictor.encode(image, (5.0, 1.0, 1.0)), label)


@pytest.fixture
def other() -> DrawnScan:
    image = np.random.default_rng(1).normal(size=(5, 32, 32)).astype(np.float32)
    return DrawnScan("other", image, np.zeros(image.shape, np.uint8), (5.0, 1.0, 1.0))


def scripted(monkeypatch: pytest.MonkeyPatch, scores: Iterable[float]) -> None:
    """Reverse checks that come out as written."""
    left = iter(scores)
    monkeypatch.setattr(checked_training, "reverse_check", lambda *_: next(left))


def state(network: torch.nn.Module | None) -> dict[str, torch.Tensor]:
    assert network is not None
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_the_best_state_is_kept_and_the_network_itself_stays(
    predictor: Predictor,
    labelled: LabelledScan,
    other: DrawnScan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = state(predictor.method)
    scripted(monkeypatch, [0.5, 0.7, 0.6])
    learnt = learn(predictor, [labelled], VALUES, [other], QUICK, quiet=True)
    assert [each["step"] for each in learnt.checks] == [0, 2, 4]
    assert (learnt.kept, learnt.checked) == (2, 1)
    assert str(learnt).endswith("reverse check 50.0 % before, 70.0 % after 2 steps")
    assert same(before, state(predictor.method)) and not same(before, state(learnt.network))
    scripted(monkeypatch, [0.5, 0.7])
    half = replace(QUICK, steps=2, checks=1)
    again = learn(predictor, [labelled], VALUES, [other], half, quiet=True)
    assert same(state(learnt.network), state(again.network))  # not the state of step 4


def test_without_a_gain_there_is_no_network(
    predictor: Predictor,
    labelled: LabelledScan,
    other: DrawnScan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, [0.5, 0.4, 0.5])
    learnt = learn(predictor, [labelled], VALUES, [other], QUICK, quiet=True)
    assert learnt.network is None and "did not help (reverse check 50.0 %)" in str(learnt)


def test_a_fall_halfway_does_not_end_it(
    predictor: Predictor,
    labelled: LabelledScan,
    other: DrawnScan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(learn_options(60), steps=4, batch=1)
    scripted(monkeypatch, [0.5, 0.4, 0.6])
    learnt = learn(predictor, [labelled], VALUES, [other], options, quiet=True)
    assert [each["step"] for each in learnt.checks] == [0, 2, 4] and learnt.kept == 4


def test_the_same_seed_gives_the_same_and_another_one_does_not(
    predictor: Predictor, labelled: LabelledScan, other: DrawnScan
) -> None:
    """With the true check, whose scores are numbers of this network."""
    one, two, third = (
        learn(predictor, [labelled], VALUES, [other], replace(QUICK, seed=seed), quiet=True)
        for seed in (1, 1, 2)
    )
    assert one.checks == two.checks != third.checks
    assert all(0 <= each["reverse"] <= 1 for each in one.checks)


def test_the_scan_that_shows_most_labels_is_checked(
    predictor: Predictor,
    labelled: LabelledScan,
    other: DrawnScan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of several labelled scans may show none of the labels asked for."""
    empty = replace(labelled, name="empty", label=np.zeros_like(labelled.label))
    asked = []

    def noted(_: Predictor, check: Check, *__: object) -> float:
        asked.append((check.case.name, check.values))
        return 0.5

    monkeypatch.setattr(checked_training, "reverse_check", noted)
    learn(predictor, [empty, labelled], VALUES, [other], QUICK, quiet=True)
    assert set(asked) == {("one", (1, 2))}


def test_the_check_segments_as_segment_does(
    predictor: Predictor,
    labelled: LabelledScan,
    other: DrawnScan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There and back the scans are aligned in 3-D."""
    plans, blind_plan = [], Predictor.blind_plan

    def noted(*scans: Any) -> SlicePlan:
        plans.append(blind_plan(*scans))
        return plans[-1]

    monkeypatch.setattr(Predictor, "blind_plan", noted)
    learn(predictor, [labelled], VALUES, [other], QUICK, quiet=True)
    assert plans and all(isinstance(plan, AlignedSlices) for plan in plans)


def test_only_the_labels_asked_for_are_learnt(labelled: LabelledScan) -> None:
    drawn = drawn_scan(labelled, VALUES)
    assert set(np.unique(drawn.label)) == {0, 1, 2}
    assert np.array_equal(drawn.label == 1, labelled.label == 3)
    assert drawn.image.shape == labelled.label.shape and drawn.spacing == (5.0, 1.0, 1.0)


def test_what_cannot_learn_is_refused(
    predictor: Predictor, labelled: LabelledScan, other: DrawnScan
) -> None:
    with pytest.raises(ConfigError, match="this one is Copy"):
        learn(Predictor(Copy(CopyOptions()).eval()), [labelled], VALUES, [other], QUICK)
    with pytest.raises(ConfigError, match="a scan to segment beside"):
        learn(predictor, [labelled], VALUES, [], QUICK)
