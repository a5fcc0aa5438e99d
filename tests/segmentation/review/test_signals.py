"""Signals: made without the truth and without encoding anything again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.inference.alignment import Alignment, InPlane, ZLine
from dpcenet.inference.support import Support
from dpcenet.methods.base import Method
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.shape import shape_of
from dpcenet.segmentation.review.signals import label_map_of, measure
from dpcenet.segmentation.segmenter import Segmenter

SHAPE, SPACING = (10, 72, 72), (9.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def itself(copier: Segmenter) -> tuple[Support, SegmentationResult]:
    """A phantom segmented from itself."""
    image, labels = phantom(1, SHAPE, SPACING)
    support = copier.support(image, labels)
    return support, copier.find(image, support)


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_a_scan_segmented_from_itself_has_nothing_against_it(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    for signals in measure(copier.predictor, itself[1]).values():
        assert signals.reverse == signals.agreement == 1.0
        assert signals.confidence > 0.999 and signals.similarity == pytest.approx(1.0)
        assert signals.volume_ratio == pytest.approx(1.0) and signals.extent_ratio == 1.0
        assert signals.continuity_loss == 0.0
        assert signals.taken == 0.0 and signals.claimed < 1e-3
        assert signals.displacement_mm == pytest.approx(0, abs=1e-9)
        assert signals.size_mm == pytest.approx((1000 * signals.shape.volume_ml) ** (1 / 3))
        assert signals.alignment is None  # `copy` names no map to align volumes by


def test_the_reverse_check_scores_the_answer_carried_back_against_the_true_mask(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    support, found = itself
    smaller = found.probability[1].copy()
    smaller[:, :48] = 0  # `copy` carries this back as it is: slices match themselves
    signals = measure(copier.predictor, replace(found, probability={1: smaller}))[1]
    truth = support.scans[0].label == 1
    assert 0 < (smaller > 0.5).sum() < truth.sum()
    assert signals.reverse == pytest.approx(overlap(smaller > 0.5, truth))
    # One support slice alone says the whole organ: it disagrees with the smaller answer.
    assert signals.agreement == pytest.approx(overlap(smaller > 0.5, truth))
    assert signals.volume_ratio == pytest.approx((smaller > 0.5).sum() / truth.sum())


def test_agreement_is_with_what_the_labelled_scan_alone_found(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    found = itself[1]
    at_first = {value: each > 0.5 for value, each in found.probability.items()}
    half = at_first[1].copy()
    half[:, :, :36] = False
    signals = measure(copier.predictor, replace(found, at_first={**at_first, 1: half}))[1]
    assert 0 < signals.agreement < 1 and signals.reverse == 1.0
    assert signals.agreement == pytest.approx(overlap(half, at_first[1]))
    assert not found.at_first  # `copy` makes no volume: one slice for each, once more
    assert measure(copier.predictor, found)[1].agreement == 1.0


def test_nothing_is_encoded(
    copier: Segmenter, itself: tuple[Support, SegmentationResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Method, images: object) -> object:
        raise AssertionError("an image was encoded")

    monkeypatch.setattr(type(copier.predictor.method), "extract", refuse)
    assert set(measure(copier.predictor, itself[1])) == {1, 2, 3, 4}


def test_confidence_falls_where_voxels_are_undecided(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    found = itself[1]
    mask = found.probability[1] > 0.5
    unsure = np.where(mask, 0.6, 0.4).astype(np.float32)
    signals = measure(copier.predictor, replace(found, probability={1: unsure}))[1]
    expected = 2 * 0.6 * mask.sum() / (mask.sum() + 0.6 * mask.sum() + 0.4 * (~mask).sum())
    assert signals.confidence == pytest.approx(expected, rel=1e-5)


def test_the_alignment_of_the_scan_that_fits_best_counts(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    line = ZLine(0.0, 0.0, 1.0)
    found = [
        Alignment(line, {1: line}, InPlane(1.0, 0.0, (0, 0), 8.0), 0.3, alike)
        for alike in ({1: 0.2, 2: 0.4}, {1: 0.35})
    ]
    aligned = replace(itself[1], alignments=(found[0], None, found[1]))
    signals = measure(copier.predictor, aligned)
    assert [signals[v].alignment for v in (1, 2, 3)] == [0.35, 0.4, None]


def test_a_label_of_which_nothing_was_found_has_no_signals(
    copier: Segmenter, itself: tuple[Support, SegmentationResult]
) -> None:
    found = itself[1]
    empty = {**found.probability, 2: np.zeros_like(found.probability[2])}
    assert set(measure(copier.predictor, replace(found, probability=empty))) == {1, 3, 4}


def test_several_support_scans_are_averaged(copier: Segmenter) -> None:
    one, two = phantom(1, SHAPE, SPACING), phantom(2, SHAPE, SPACING)
    query = phantom(3, SHAPE, SPACING)[0]
    both = copier.support([one[0], two[0]], [one[1], two[1]])
    found = copier.find(query, both)
    single = [
        measure(copier.predictor, replace(found, scans=(scan,), matches=(matches,)))[1]
        for scan, matches in zip(both.scans, found.matches, strict=True)
    ]
    signals = measure(copier.predictor, found)[1]
    assert single[0].reverse != single[1].reverse
    assert signals.reverse == pytest.approx((single[0].reverse + single[1].reverse) / 2)
    assert signals.agreement == pytest.approx((single[0].agreement + single[1].agreement) / 2)
    volumes = [(scan.label == 1).sum() * np.prod(scan.slices.spacing) for scan in both.scans]
    assert signals.volume_ratio == pytest.approx(1000 * signals.shape.volume_ml / np.mean(volumes))


def test_overlapping_labels_go_to_the_likelier(itself: tuple[Support, SegmentationResult]) -> None:
    found = itself[1]
    random = np.random.default_rng(0)
    one, two = random.random((2, 3, 4, 5)).astype(np.float32)
    answer = label_map_of(replace(found, probability={3: one, 7: two}))
    for index in np.ndindex(one.shape):
        best = max((0.5, 0), (one[index], 3), (two[index], 7))[1]
        assert answer[index] == best


def test_a_shape_in_millilitres_and_millimetres() -> None:
    mask = np.zeros((6, 10, 10), bool)
    mask[1:3, 2:6, 2:6] = True  # 32 voxels
    mask[3, 2:6, 2:4] = True  # 8 voxels, half of the slice below
    mask[3, 9, 9] = True  # a voxel apart
    shape = shape_of(mask, (5.0, 2.0, 1.0))
    assert shape.volume_ml == pytest.approx(41 * 10 / 1000)
    assert shape.extent_mm == 15.0
    assert shape.components == 2 and shape.largest == pytest.approx(40 / 41)
    assert shape.continuity == pytest.approx((1 + 2 * 8 / (16 + 9)) / 2)
