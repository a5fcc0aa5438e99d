"""After learning, each label takes the answer with the highest predicted Dice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.segmentation import segmenter
from dpcenet.segmentation.better_answers import LEARNT, Answer, LearntNetwork, best_of
from dpcenet.segmentation.result import Choice, SegmentationResult
from dpcenet.segmentation.review.quality import Quality, assess, nothing_found
from dpcenet.segmentation.review.signals import label_map_of
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume

LIVER, KIDNEY = 1, 2
FULL = replace(nothing_found(), dice=1.0)


def scan(seed: int) -> tuple[Volume, Volume]:
    return phantom(seed, (10, 72, 72), (9.0, 4.0, 4.0))


@pytest.fixture
def support(copier: Segmenter) -> Support:
    return copier.support(*scan(1), [LIVER, KIDNEY])


@pytest.fixture
def right(copier: Segmenter, support: Support) -> SegmentationResult:
    """A phantom segmented from itself by `copy`: its masks are right."""
    return copier.find(scan(1)[0], support)


def elsewhere(result: SegmentationResult, label: int) -> SegmentationResult:
    """The result with one label in a wrong place."""
    moved = np.roll(result.probability[label], (3, 30, 30), axis=(0, 1, 2))
    return result.with_probability({**result.probability, label: moved})


def judged(copier: Segmenter, by: str, result: SegmentationResult) -> Answer:
    return Answer(by, result, assess(copier.predictor, result))


def test_each_label_takes_the_best_answer(copier: Segmenter, right: SegmentationResult) -> None:
    before, after = elsewhere(right, LIVER), elsewhere(right, KIDNEY)
    none = elsewhere(elsewhere(right, LIVER), KIDNEY)
    answers = [judged(copier, by, r) for by, r in (("", before), (LEARNT, after), ("b", none))]
    best = best_of(answers)
    assert {v: choice.learnt for v, choice in best.choices.items()} == {LIVER: True, KIDNEY: False}
    assert best.choices[LIVER].by == LEARNT
    assert np.array_equal(best.mask.data, right.mask.data)
    assert not np.array_equal(before.mask.data, right.mask.data)
    for choice in best.choices.values():
        assert 0 <= min(choice.before, choice.after) < max(choice.before, choice.after) <= 1


def test_a_label_that_was_missed_is_taken_from_another_scan(
    copier: Segmenter, right: SegmentationResult
) -> None:
    missed = right.with_probability(
        {**right.probability, KIDNEY: np.zeros_like(right.probability[KIDNEY])}
    )
    answers = [judged(copier, by, r) for by, r in (("", missed), (LEARNT, missed), ("b", right))]
    best = best_of(answers)
    assert best.choices[KIDNEY].before == 0.0 and best.choices[KIDNEY].by == "b"
    assert np.array_equal(best.mask.data, right.mask.data)


def test_what_was_seen_at_first_goes_with_the_answer(
    copier: Segmenter, right: SegmentationResult
) -> None:
    """The review compares a mask with the first look of the network that found it."""
    looks = [{v: np.full((1, 1, 1), n, bool) for v in (LIVER, KIDNEY)} for n in (0, 1)]
    quality = assess(copier.predictor, right)
    low = {value: replace(each, dice=0.1) for value, each in quality.items()}
    before = Answer("", replace(right, at_first=looks[0]), {**quality, LIVER: low[LIVER]})
    after = Answer(LEARNT, replace(right, at_first=looks[1]), {**low, LIVER: quality[LIVER]})
    best = best_of([before, after])
    assert best.at_first[LIVER] is looks[1][LIVER] and best.at_first[KIDNEY] is looks[0][KIDNEY]


def test_from_several_labelled_scans_nothing_is_seen_at_first(
    copier: Segmenter, right: SegmentationResult
) -> None:
    """A pseudo-labelled scan answers alone, and has a first look; it is judged like the others."""
    looks = {value: right.probability[value] > 0.5 for value in (LIVER, KIDNEY)}
    alone, several = replace(right, at_first=looks), replace(right, at_first={})
    assert not several.answered_by(alone).at_first and alone.answered_by(alone).at_first == looks
    quality = assess(copier.predictor, several)
    low = {value: replace(each, dice=0.0) for value, each in quality.items()}
    best = best_of([Answer("", several, quality), Answer("b", alone, {**low, LIVER: FULL})])
    assert {v: choice.learnt for v, choice in best.choices.items()} == {LIVER: True, KIDNEY: False}
    assert not best.at_first and set(assess(copier.predictor, best)) == {LIVER, KIDNEY}


def test_equal_answers_stay_those_of_before() -> None:
    assert not Choice(0.7, 0.7, LEARNT).learnt and Choice(0.7, 0.71, LEARNT).learnt


def test_every_answer_is_judged_from_the_labelled_scans(
    copier: Segmenter,
    support: Support,
    right: SegmentationResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here all networks are `copy`; the labels of the pseudo-labelled scan lie elsewhere."""
    judges = list[tuple[Predictor, SegmentationResult]]()

    def noted(predictor: Predictor, result: SegmentationResult) -> dict[int, Quality]:
        judges.append((predictor, result))
        return assess(predictor, result)

    monkeypatch.setattr(segmenter, "assess", noted)
    network, other = replace(copier.predictor), copier.find(scan(2)[0], support)
    wrong = LabelledScan("b", other.query, np.roll(label_map_of(other), 30, axis=2))
    learnt = replace(LearntNetwork.of(network, support), pseudo_labelled=(wrong,))
    found = replace(copier, learnt=learnt).find(scan(1)[0], support)
    assert [predictor is network for predictor, _ in judges] == [False, True, True]
    assert [result.scans[0].name for _, result in judges] == [support.scans[0].name] * 3
    assert not np.array_equal(judges[2][1].mask.data, judges[1][1].mask.data)
    assert np.array_equal(found.mask.data, right.mask.data)
    assert [choice.learnt for choice in found.choices.values()] == [False, False]


def test_a_scan_does_not_answer_for_itself(copier: Segmenter, support: Support) -> None:
    found = [copier.find(scan(seed)[0], support) for seed in (2, 3, 4)]
    names = ["a", "b", "c"]
    labelled = tuple(
        LabelledScan(name, each.query, label_map_of(each))
        for name, each in zip(names, found, strict=True)
    )
    learnt = replace(LearntNetwork.of(copier.predictor, support), pseudo_labelled=labelled)
    answering = [[by for by, _ in learnt.answers_from(support, each.query)][1:] for each in found]
    assert answering == [["b", "c"], ["a", "c"], ["a", "b"]]


def test_a_network_that_learnt_from_other_scans_is_refused(
    copier: Segmenter, support: Support, right: SegmentationResult
) -> None:
    learnt = LearntNetwork.of(copier.predictor, copier.support(*scan(2), [LIVER, KIDNEY]))
    with pytest.raises(ConfigError, match="segment from the same scans"):
        next(learnt.answers_from(support, right.query))
