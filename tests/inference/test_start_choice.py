"""Which of several places of an organ is taken, when a network can see it in one of them only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.alignment import Alignment, InPlane, ZLine
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_plans import Request
from dpcenet.inference.start_choice import Tally, chosen_lines, expected_dice
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.base import MatchJob
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features

SPACING = (10.0, 2.0, 2.0)
ORGAN = 3


class Bright(Copy):
    """Finds what is bright; of what is grey it is not sure."""

    def match_each(self, jobs: Sequence[MatchJob], batch: int) -> list[Tensor]:
        share = [job.query["image"][:, 0].clamp(0.01, 0.99) for job in jobs]
        return [torch.stack([1 - one, one], 1).log() for one in share]


def scan_with(slices: int, brightness: dict[int, float]) -> EncodedScan:
    """A square of this brightness on these slices."""
    images = torch.zeros(slices, 1, 16, 16)
    for z, value in brightness.items():
        images[z, 0, 4:10, 4:10] = value
    return EncodedScan(images, Features({"image": images}), SPACING)


def way_to(query_mm: float, similarity: float) -> Alignment:
    """An alignment that leads the support's 50 mm to a place of the query."""
    line = ZLine(50.0, query_mm, 1.0)
    return Alignment(
        line, {ORGAN: line}, InPlane(1.0, 0.0, (0, 0), 2.0), similarity, {ORGAN: similarity}
    )


def request_for(brightness: dict[int, float]) -> tuple[Request, LabelledScan]:
    """A support with the organ in slices 3 … 6, and a query of 40 slices."""
    support = scan_with(10, dict.fromkeys(range(3, 7), 1.0))
    label = (support.images[:, 0].numpy() > 0.5).astype(np.uint8) * ORGAN
    scan = LabelledScan("a", support, label)
    return Request(Bright(Options()).eval(), [scan], scan_with(40, brightness), [ORGAN]), scan


def test_the_place_where_the_organ_is_found_is_taken() -> None:
    request, scan = request_for(dict.fromkeys(range(23, 27), 1.0))
    ways = [way_to(100.0, 0.5), way_to(250.0, 0.4), way_to(330.0, 0.3)]
    found = chosen_lines(request, scan, ways, margin=20.0)
    assert found.organs[ORGAN] == ways[1].organs[ORGAN]
    assert found.organ_similarity[ORGAN] == 0.4
    assert found.whole == ways[0].whole


def test_what_is_found_surely_is_preferred_to_what_is_found_hardly() -> None:
    grey = dict.fromkeys(range(8, 12), 0.6)
    request, scan = request_for(grey | dict.fromkeys(range(23, 27), 0.95))
    ways = [way_to(100.0, 0.5), way_to(250.0, 0.4)]
    assert chosen_lines(request, scan, ways, 20.0).organs[ORGAN] == ways[1].organs[ORGAN]


def test_of_places_where_the_organ_is_found_alike_the_one_with_similar_features_is_taken() -> None:
    places = dict.fromkeys(range(8, 12), 0.95) | dict.fromkeys(range(23, 27), 0.93)
    request, scan = request_for(places)
    for alike, there in ((0.0, 0), (0.5, 1)):
        ways = [way_to(100.0, 0.0), way_to(250.0, alike)]
        assert chosen_lines(request, scan, ways, 20.0).organs[ORGAN] == ways[there].organs[ORGAN]


def test_of_lines_that_nearly_coincide_the_most_similar_is_looked_at() -> None:
    request, scan = request_for(dict.fromkeys(range(23, 27), 1.0))
    ways = [way_to(100.0, 0.9), way_to(250.0, 0.2), way_to(254.0, 0.4)]
    assert chosen_lines(request, scan, ways, 20.0).organs[ORGAN] == ways[2].organs[ORGAN]
    ways[2] = way_to(330.0, 0.4)  # nothing is there
    assert chosen_lines(request, scan, ways, 20.0).organs[ORGAN] == ways[1].organs[ORGAN]


def test_a_line_that_leaves_the_query_is_not_taken() -> None:
    request, scan = request_for({})
    ways = [way_to(900.0, 0.5), way_to(250.0, 0.4)]
    assert chosen_lines(request, scan, ways, 20.0).organs[ORGAN] == ways[1].organs[ORGAN]


def test_the_plan_serves_slices_by_the_chosen_line(monkeypatch: pytest.MonkeyPatch) -> None:
    request, scan = request_for(dict.fromkeys(range(23, 27), 1.0))
    plan = AlignedSlices("image", margin=0.0)
    plan._known[id(scan)] = [way_to(100.0, 0.5), way_to(250.0, 0.4)]
    tasks = plan.slices(request, [scan]).tasks[ORGAN]
    assert sorted(z for task in tasks for z in task.query) == [23, 24, 25, 26]


def test_the_expected_dice_is_that_of_right_probabilities() -> None:
    probability = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    mask = probability > 0.5
    expected = 2 * probability[mask].sum() / (probability.sum() + mask.sum())
    given = Tally.of(dict(enumerate(torch.from_numpy(probability))))
    assert expected_dice(given, 1.0) == pytest.approx(expected, abs=1e-6)
    assert expected_dice(given, 3.0) == expected_dice(given, 1.0)
    assert expected_dice(given, 0.1) == pytest.approx(expected + 0.05 * np.log(0.1), abs=1e-6)
    assert expected_dice(Tally.of({0: torch.zeros(4, 4)}), 0.0) == pytest.approx(
        0.05 * np.log(0.02)
    )


def test_what_is_likelier_another_organ_does_not_count() -> None:
    plane = torch.tensor([[0.9, 0.8, 0.7, 0.2]])
    rival = torch.tensor([[0.95, 0.8, 0.1, 0.9]])
    assert Tally.of({4: plane}, {5: rival}) == Tally.of({4: plane})
    found = Tally.of({4: plane}, {4: rival})
    assert found.size == 2
    assert (found.inside, found.whole) == pytest.approx((1.5, 2.6))


class OneOrTheOther(Copy):
    """Organ 4, drawn below, is found where it is brightest; organ 3, nearly as surely, anywhere."""

    def match_each(self, jobs: Sequence[MatchJob], batch: int) -> list[Tensor]:
        answers = []
        for job in jobs:
            bright, below = job.query["image"][:, 0], bool(job.masks[:, 10:].any())
            share = torch.where(bright > 0.9, bright, 0.0) if below else bright - 0.01
            share = share.clamp(0.01, 0.99)
            answers.append(torch.stack([1 - share, share], 1).log())
        return answers


def test_two_organs_are_not_found_in_the_same_place() -> None:
    places = dict.fromkeys(range(8, 12), 0.95) | dict.fromkeys(range(23, 27), 0.85)
    request, scan = request_for(places)
    scan.label[3:7, 10:14, 4:10] = 4
    request = replace(request, method=OneOrTheOther(Options()).eval(), values=[ORGAN, 4])
    first, second = (
        replace(way, organs={ORGAN: way.whole, 4: way.whole}, organ_similarity={ORGAN: 0, 4: 0})
        for way in (way_to(100.0, 0.5), way_to(250.0, 0.4))
    )
    found = chosen_lines(request, scan, [first, second], 20.0)
    assert found.organs == {ORGAN: second.whole, 4: first.whole}
    alone = [replace(way, organs={ORGAN: way.whole}) for way in (first, second)]
    assert chosen_lines(request, scan, alone, 20.0).organs == {ORGAN: first.whole}
