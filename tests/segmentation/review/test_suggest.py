"""Which case to label next."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.review.suggest import (
    Candidate,
    signature_of,
    suggest_order,
    support_signatures,
)
from dpcenet.segmentation.segmenter import Segmenter


def at(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle)])


def test_a_case_amid_doubtful_ones_comes_first() -> None:
    group = [Candidate(f"g{n}", 0.4, at(80 + 5 * n)) for n in range(3)]
    alone = Candidate("alone", 0.3, at(-60))  # the most doubtful, but like no other
    near = Candidate("near", 0.5, at(3))  # like what is labelled
    order = [c.name for c in suggest_order([near, alone, *group], [at(0)])]
    assert order[:2] == ["g1", "alone"]
    assert sorted(order) == ["alone", "g0", "g1", "g2", "near"]


def test_the_first_choice_has_the_largest_gain() -> None:
    random = np.random.default_rng(0)
    places, dices = random.uniform(0, 360, 12), random.random(12)
    candidates = [
        Candidate(str(n), d, at(p)) for n, (p, d) in enumerate(zip(places, dices, strict=True))
    ]
    labelled = [10.0, 200.0]

    def gain(n: int) -> float:
        total = 0.0
        for place, dice in zip(places, dices, strict=True):
            known = max(np.cos(np.radians(place - other)) for other in labelled)
            total += (1 - dice) * max(np.cos(np.radians(place - places[n])) - known, 0)
        return total

    chosen = suggest_order(candidates, [at(p) for p in labelled])[0]
    assert chosen.name == str(max(range(12), key=gain))


def test_confident_cases_need_no_label() -> None:
    sure, doubtful = Candidate("sure", 1.0, at(90)), Candidate("doubtful", 0.5, at(-90))
    assert suggest_order([sure, doubtful], [at(0)])[0].name == "doubtful"
    assert suggest_order([], [at(0)]) == []


def test_signatures_keep_cosines(copier: Segmenter) -> None:
    """Of the mean descriptors of the slices that show a label, in far fewer numbers."""
    volumes = [phantom(seed, (10, 72, 72), (9.0, 4.0, 4.0)) for seed in (1, 2, 3)]
    support = copier.support([v[0] for v in volumes], [v[1] for v in volumes], [1])
    signatures = support_signatures(copier.predictor.method, support)
    whole = []
    for scan in support.scans:
        rows = copier.predictor.method.describe(scan.slices.features)
        mean = rows[(scan.label == 1).any(axis=(1, 2))].mean(axis=0)
        whole.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(
        np.stack(signatures) @ np.stack(signatures).T, np.stack(whole) @ np.stack(whole).T, atol=0.1
    )
    scan = support.scans[0]
    again = signature_of(copier.predictor.method, scan.slices, scan.label == 1)
    assert np.array_equal(again, signatures[0])
    nothing = signature_of(copier.predictor.method, scan.slices, np.zeros(scan.label.shape, bool))
    assert np.linalg.norm(nothing) == pytest.approx(1.0)  # of the whole scan
