"""Learning from labelled scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import EncodedWindows
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.training.checked_training import LearnOptions
from dpcenet.training.learn import drawn_scan, learn, learn_options

QUICK = LearnOptions(minutes=60, steps=3, batch=1)
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


def state(network: torch.nn.Module | None) -> dict[str, torch.Tensor]:
    assert network is not None
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_all_steps_are_trained_and_the_network_itself_stays(
    predictor: Predictor, labelled: LabelledScan
) -> None:
    before = state(predictor.method)
    learnt = learn(predictor, [labelled], VALUES, QUICK, quiet=True)
    assert learnt.steps == 3 and not learnt.network.training
    assert str(learnt).startswith("learnt from the labelled scans: 3 steps in 0.")
    assert same(before, state(predictor.method)) and not same(before, state(learnt.network))


def test_it_ends_when_the_minutes_are_over(predictor: Predictor, labelled: LabelledScan) -> None:
    learnt = learn(predictor, [labelled], VALUES, replace(QUICK, minutes=1e-9), quiet=True)
    assert learnt.steps == 1 and str(learnt).endswith("1 step in 0.0 minutes")


def test_the_same_seed_gives_the_same_and_another_one_does_not(
    predictor: Predictor, labelled: LabelledScan
) -> None:
    one, two, third = (
        state(learn(predictor, [labelled], VALUES, replace(QUICK, seed=s), quiet=True).network)
        for s in (1, 1, 2)
    )
    assert same(one, two) and not same(one, third)


def test_a_scan_that_shows_no_label_teaches_nothing(
    predictor: Predictor, labelled: LabelledScan
) -> None:
    """One of several labelled scans may show none of the labels asked for."""
    empty = replace(labelled, name="empty", label=np.zeros_like(labelled.label))
    alone = learn(predictor, [labelled], VALUES, QUICK, quiet=True)
    both = learn(predictor, [empty, labelled], VALUES, QUICK, quiet=True)
    assert same(state(alone.network), state(both.network))


def test_it_learns_for_as_long_as_it_gains() -> None:
    options = learn_options(10.0)
    assert (options.minutes, options.steps, options.learning_rate) == (10.0, 200, 2e-4)


def test_only_the_labels_asked_for_are_learnt(labelled: LabelledScan) -> None:
    drawn = drawn_scan(labelled, VALUES)
    assert set(np.unique(drawn.label)) == {0, 1, 2}
    assert np.array_equal(drawn.label == 1, labelled.label == 3)
    assert drawn.image.shape == labelled.label.shape and drawn.spacing == (5.0, 1.0, 1.0)


def test_what_cannot_learn_is_refused(predictor: Predictor, labelled: LabelledScan) -> None:
    with pytest.raises(ConfigError, match="this one is Copy"):
        learn(Predictor(Copy(CopyOptions()).eval()), [labelled], VALUES, QUICK)
    windows = EncodedWindows({}, labelled.slices.features)
    bare = replace(labelled, slices=replace(labelled.slices, windows=windows))
    with pytest.raises(ConfigError, match="--with-images"):
        learn(predictor, [bare], VALUES, QUICK)
