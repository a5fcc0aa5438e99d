"""After learning, each label takes the answer with the higher predicted Dice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import Support
from dpcenet.segmentation import segmenter
from dpcenet.segmentation.better_answers import LearntNetwork, better_answers
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.quality import Quality, assess
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


def best_of(
    copier: Segmenter, before: SegmentationResult, after: SegmentationResult
) -> SegmentationResult:
    judged = [assess(copier.predictor, each) for each in (before, after)]
    return better_answers(before, judged[0], after, judged[1])


def test_each_label_takes_the_better_answer(copier: Segmenter, right: SegmentationResult) -> None:
    before, after = elsewhere(right, LIVER), elsewhere(right, KIDNEY)
    best = best_of(copier, before, after)
    assert {v: choice.learnt for v, choice in best.choices.items()} == {LIVER: True, KIDNEY: False}
    assert np.array_equal(best.mask.data, right.mask.data)
    assert not np.array_equal(before.mask.data, right.mask.data)
    for choice in best.choices.values():
        assert 0 <= min(choice.before, choice.after) < max(choice.before, choice.after) <= 1


def test_a_label_that_was_missed_is_taken(copier: Segmenter, right: SegmentationResult) -> None:
    missed = right.with_probability(
        {**right.probability, KIDNEY: np.zeros_like(right.probability[KIDNEY])}
    )
    best = best_of(copier, missed, right)
    assert best.choices[KIDNEY].before == 0.0 and best.choices[KIDNEY].learnt
    assert np.array_equal(best.mask.data, right.mask.data)


def test_what_was_seen_at_first_goes_with_the_answer(
    copier: Segmenter, right: SegmentationResult
) -> None:
    """The review compares a mask with the first look of the network that found it."""
    looks = [{v: np.full((1, 1, 1), n, bool) for v in (LIVER, KIDNEY)} for n in (0, 1)]
    before, after = replace(right, at_first=looks[0]), replace(right, at_first=looks[1])
    quality = assess(copier.predictor, right)
    low = {value: replace(each, dice=0.1) for value, each in quality.items()}
    first = {**quality, LIVER: low[LIVER]}
    best = better_answers(before, first, after, {**low, LIVER: quality[LIVER]})
    assert best.at_first[LIVER] is looks[1][LIVER] and best.at_first[KIDNEY] is looks[0][KIDNEY]


def test_equal_answers_stay_those_of_before() -> None:
    assert not Choice(0.7, 0.7).learnt and Choice(0.7, 0.71).learnt


def test_both_networks_segment(
    copier: Segmenter,
    support: Support,
    right: SegmentationResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is judged by itself; here both are `copy`, so neither answer is better."""
    judges = []

    def noted(predictor: Predictor, result: SegmentationResult) -> dict[int, Quality]:
        judges.append(predictor)
        return assess(predictor, result)

    monkeypatch.setattr(segmenter, "assess", noted)
    other = replace(copier.predictor)
    learnt = replace(copier, learnt=LearntNetwork.of(other, support))
    image, _ = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    found = learnt.find(image, support)
    assert judges[0] is copier.predictor and judges[1] is other
    assert np.array_equal(found.mask.data, right.mask.data)
    assert [c.before == c.after and not c.learnt for c in found.choices.values()] == [True, True]


def test_a_network_that_learnt_from_other_scans_is_refused(
    copier: Segmenter, support: Support, right: SegmentationResult
) -> None:
    other = copier.support(*phantom(2, (10, 72, 72), (9.0, 4.0, 4.0)), [LIVER, KIDNEY])
    with pytest.raises(ConfigError, match="segment from the same scans"):
        LearntNetwork.of(copier.predictor, other).sees(support, right.query)
