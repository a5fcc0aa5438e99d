"""After learning, each label takes the answer with the higher predicted Dice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation import better_answers as module
from dpcenet.segmentation.better_answers import LearntNetwork, better_answers
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.segmenter import Segmenter

LIVER, KIDNEY = 1, 2


@pytest.fixture
def support(copier: Segmenter) -> Support:
    return copier.support(*phantom(1, (10, 72, 72), (9.0, 4.0, 4.0)), [LIVER, KIDNEY])


@pytest.fixture
def right(copier: Segmenter, support: Support) -> SegmentationResult:
    """A phantom segmented from itself by `copy`: its masks are right."""
    image, _ = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    return copier.find(image, support)


def elsewhere(result: SegmentationResult, label: int) -> SegmentationResult:
    """The result with one label in a wrong place."""
    moved = np.roll(result.probability[label], (3, 30, 30), axis=(0, 1, 2))
    return result.with_probability({**result.probability, label: moved})


def test_each_label_takes_the_better_answer(copier: Segmenter, right: SegmentationResult) -> None:
    before, after = elsewhere(right, LIVER), elsewhere(right, KIDNEY)
    best = better_answers(copier.predictor, before, after.probability)
    assert {v: choice.learnt for v, choice in best.choices.items()} == {LIVER: True, KIDNEY: False}
    assert np.array_equal(best.mask.data, right.mask.data)
    assert not np.array_equal(before.mask.data, right.mask.data)
    for choice in best.choices.values():
        assert 0 <= min(choice.before, choice.after) < max(choice.before, choice.after) <= 1


def test_a_label_that_was_missed_is_taken(copier: Segmenter, right: SegmentationResult) -> None:
    missed = right.with_probability(
        {**right.probability, KIDNEY: np.zeros_like(right.probability[KIDNEY])}
    )
    best = better_answers(copier.predictor, missed, right.probability)
    assert best.choices[KIDNEY].before == 0.0 and best.choices[KIDNEY].learnt
    assert np.array_equal(best.mask.data, right.mask.data)


def test_equal_answers_stay_those_of_before() -> None:
    assert not Choice(0.7, 0.7).learnt and Choice(0.7, 0.71).learnt


def test_both_networks_segment(
    copier: Segmenter,
    support: Support,
    right: SegmentationResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`find` gives the choice both: what the network found, and what the learnt one answers."""
    given = []

    def noted(predictor: object, before: SegmentationResult, after: dict[int, np.ndarray]) -> str:
        given.append((predictor, before, after))
        return "chosen"

    monkeypatch.setattr("dpcenet.segmentation.segmenter.better_answers", noted)
    learnt = LearntNetwork.of(replace(copier.predictor), support)
    image, _ = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    assert replace(copier, learnt=learnt).find(image, support) == "chosen"
    ((predictor, before, after),) = given
    assert predictor is copier.predictor and np.array_equal(before.mask.data, right.mask.data)
    assert all(np.array_equal(after[v], right.probability[v]) for v in (LIVER, KIDNEY))


def test_a_network_that_learnt_from_other_scans_is_refused(
    copier: Segmenter, support: Support, right: SegmentationResult
) -> None:
    other = copier.support(*phantom(2, (10, 72, 72), (9.0, 4.0, 4.0)), [LIVER, KIDNEY])
    with pytest.raises(ConfigError, match="segment from the same scans"):
        module.LearntNetwork.of(copier.predictor, other).answers(support, right.query)
