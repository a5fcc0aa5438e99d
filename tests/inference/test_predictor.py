"""The predictor: one way to match, align and segment, of which parts can be left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.evaluation.protocols import OrganChunks, SameSlices
from dpcenet.inference import predictor as module
from dpcenet.inference import slice_plans
from dpcenet.inference.aligned_slices import AlignedSlices
from dpcenet.inference.encoded import EncodedScan, EncodedWindows
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import MatchedSlices, Request, SliceMap, SlicePlan
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import PoseSearch
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features

SPACING = (5.0, 1.0, 1.0)


def made_scan(places: list[int], size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Slices with a bright square that moves to the right, and the square as label 1."""
    image = np.zeros((len(places), size, size), np.float32)
    for z, place in enumerate(places):
        image[z, 10:18, place : place + 6] = 1
    return image, (image > 0).astype(np.uint8)


@pytest.fixture
def copier() -> Predictor:
    """`copy` answers with the mean mask of the support slices that serve."""
    return Predictor(Copy(Options()).eval())


def labelled(predictor: Predictor, places: list[int], name: str = "a") -> LabelledScan:
    image, label = made_scan(places)
    return LabelledScan(name, predictor.encode(image, SPACING), label)


def test_a_query_is_segmented_from_the_slices_that_it_matches(copier: Predictor) -> None:
    support = labelled(copier, [2, 6, 10, 14, 18])
    image, label = made_scan([6, 10, 14])
    found = copier.segment([support], copier.encode(image, SPACING), MatchedSlices(), [1])
    np.testing.assert_array_equal(found.masks[1], label > 0)
    np.testing.assert_array_equal(found.slices.matches[0], [1, 2, 3])
    assert found.scans == (support,)


def test_matches_that_are_known_are_not_sought_again(
    copier: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    support = labelled(copier, [2, 6, 10])
    monkeypatch.setattr(slice_plans, "match_slices", None)  # calling it would be an error
    plan = MatchedSlices((np.array([2, 2, 0]),))
    found = copier.segment([support], support.slices, plan, [1])
    np.testing.assert_array_equal(found.masks[1], support.label[[2, 2, 0]] > 0)


def test_several_scans_serve_together(copier: Predictor) -> None:
    scans = [labelled(copier, [2, 8, 14], "a"), labelled(copier, [8, 14, 20], "b")]
    tasks = {1: [SliceTask((SupportSlice(0, 1), SupportSlice(1, 1)), (0, 2))]}
    plan = SameSlices(SliceMap(tasks))
    found = copier.segment(scans, scans[0].slices, plan, [1]).probability[1]
    mean = (scans[0].label[1].astype(np.float32) + scans[1].label[1]) / 2
    np.testing.assert_allclose(found[0], mean, atol=1e-5)
    np.testing.assert_allclose(found[2], mean, atol=1e-5)
    assert not found[1].any()


def test_neighbours_help_by_the_methods_number_or_by_ours(copier: Predictor) -> None:
    support = labelled(copier, [2, 8, 14])
    plan = SameSlices(SliceMap({1: [SliceTask((SupportSlice(0, 1),), (0,))]}))

    def served(predictor: Predictor) -> list[int]:
        (task,) = predictor.segment([support], support.slices, plan, [1]).slices.tasks[1]
        return [slice_.z for slice_ in task.support]

    assert served(copier) == [1]
    copier.method.neighbours = 1
    assert served(copier) == [1, 0, 2]
    assert served(Predictor(copier.method, neighbours=0)) == [1]
    assert served(copier.at_first_look()) == [1]


def test_scans_are_aligned_only_where_the_method_searches_a_pose(
    copier: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    support, moved = labelled(copier, [2, 8, 14]), labelled(copier, [4, 10, 16], "moved")
    asked: list[list[tuple[int, int]]] = []

    def align(method, scan, values, query, pairs, precision, disk=None):  # type: ignore[no-untyped-def]
        asked.append(list(pairs))
        return moved

    monkeypatch.setattr(module, "align_support", align)
    plan, query = MatchedSlices(), support.slices
    assert copier.segment([support], query, plan, [1]).scans == (support,)
    copier.method.pose_search = PoseSearch("image", 32, 1.0, (0.0,))
    assert copier.segment([support], query, plan, [1]).scans == (moved,)
    assert asked == [[(0, 0), (1, 1), (2, 2)]]
    assert copier.at_first_look().segment([support], query, plan, [1]).scans == (support,)


def test_a_plan_aligns_nothing_unless_it_says_so(copier: Predictor) -> None:
    support = labelled(copier, [2, 8])
    request = Request(copier.method, [support, support], support.slices, [1])
    assert SameSlices(SliceMap({})).pairs(request) == [[], []]


def test_slices_in_order_are_not_copied() -> None:
    maps = torch.arange(12.0).reshape(6, 2)
    scan = EncodedScan(torch.zeros(6, 1, 4, 4), Features({"map": maps}), SPACING)
    assert scan.features_of([2, 3, 4])["map"].data_ptr() == maps[2].data_ptr()
    assert scan.features_of([4, 2])["map"].tolist() == maps[[4, 2]].tolist()


def test_volumes_are_aligned_where_the_method_can_and_scans_are_volumes(
    copier: Predictor,
) -> None:
    whole, short = labelled(copier, [2, 6, 10, 14, 18]), labelled(copier, [2, 6])
    assert isinstance(copier.blind_plan([whole], whole.slices), MatchedSlices)
    copier.method.volume_map = "image"
    assert isinstance(copier.blind_plan([whole], whole.slices), AlignedSlices)
    assert isinstance(copier.blind_plan([whole], short.slices), MatchedSlices)
    assert isinstance(copier.blind_plan([short], whole.slices), MatchedSlices)
    kept = replace(whole.slices, windows=EncodedWindows({}, Features({})))
    assert isinstance(copier.blind_plan([replace(whole, slices=kept)], whole.slices), MatchedSlices)
    assert isinstance(copier.at_first_look().blind_plan([whole], whole.slices), MatchedSlices)


class SeenAsVolume(Copy):
    """`copy`, whose answers may be seen as a volume."""

    as_volume = True


def test_answers_for_slices_are_seen_as_one_volume() -> None:
    image, label = made_scan([8] * 8)
    label[2:6, 2:4, 2:4] = 1  # a second, smaller part: 16 voxels beside 384
    predictor = Predictor(SeenAsVolume(Options()).eval())
    scan = LabelledScan("a", predictor.encode(image, SPACING), label)

    def found(predictor: Predictor, plan: SlicePlan) -> np.ndarray:
        return predictor.segment([scan], scan.slices, plan, [1]).masks[1]

    one = found(predictor, MatchedSlices())
    assert not one[:, 2:4, 2:4].any() and one[4, 10:18, 8:14].all()
    told = found(predictor, OrganChunks(label))
    assert not told[:, 2:4, 2:4].any() and told[4, 10:18, 8:14].all()
    both = found(replace(predictor, one_part=False), MatchedSlices())
    assert both[4, 2:4, 2:4].all()
    each_other = MatchedSlices().slices(Request(predictor.method, [scan], scan.slices, [1]), [scan])
    for other, plan in (
        (replace(predictor, as_volume=False), MatchedSlices()),
        (predictor, SameSlices(each_other)),  # the slices that another method was given
        (Predictor(Copy(Options()).eval()), MatchedSlices()),  # pasted is pasted
    ):
        np.testing.assert_array_equal(found(other, plan), label > 0)


def test_slices_that_nothing_serves_are_left_empty() -> None:
    """Told the organ's slices, no smoothing carries it beyond them, and none takes it off them."""
    image, label = made_scan([8] * 9)
    truth = label.copy()
    truth[:3] = truth[6:] = 0
    predictor = Predictor(SeenAsVolume(Options()).eval())
    scan = LabelledScan("a", predictor.encode(image, SPACING), label)
    found = predictor.segment([scan], scan.slices, OrganChunks(truth), [1])
    np.testing.assert_array_equal(found.masks[1], truth > 0)
    assert not found.probability[1][[2, 6]].any()
