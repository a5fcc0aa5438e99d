"""A support comes into the pose of a query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.data.phantom.phantom import phantom
from dpcenet.inference.batched import encode_scan
from dpcenet.inference.encoded import Closeups, Encoded
from dpcenet.inference.pose import Pose
from dpcenet.inference.pose_search import bring, find_pose, matched_pairs
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.incontext.model import InContext
from dpcenet.types import Features

CPU = torch.device("cpu")
SAME = [(z, z) for z in range(8)]  # pairs of slices
ALL = range(1, 256)  # label values


@pytest.fixture(scope="module")
def network() -> InContext:
    return shipped.build(shipped.Options()).eval()


@pytest.fixture(scope="module")
def scan(network: InContext) -> tuple[Encoded, np.ndarray]:
    """A phantom's slices, z-scored and encoded, and their labels."""
    volume, labels = phantom(1, (8, 128, 128))
    image = volume.data.astype(np.float32)
    image = (image - image.mean()) / image.std()
    return encode_scan(network, image, (6.0, 1.5, 1.5), CPU, "float32"), labels.data.astype(
        np.uint8
    )


def turned(network: InContext, scan: Encoded, pose: Pose) -> Encoded:
    images = pose.carry(scan.images)
    return encode_scan(network, images[:, 0].numpy(), scan.spacing, CPU, "float32")


@pytest.mark.parametrize("turn", [-60.0, 0.0, 45.0])
def test_the_turn_of_a_turned_scan_is_found(
    network: InContext, scan: tuple[Encoded, np.ndarray], turn: float
) -> None:
    support, label = scan
    query = turned(network, support, Pose((64.0, 64.0), (64.0, 64.0), turn))
    assert network.pose_search is not None
    pose = find_pose(network, network.pose_search, support, label, query, SAME, "float32")
    assert abs(pose.turn - turn) <= 15
    assert 0.8 <= pose.scale <= 1.25


def test_the_same_scan_stays_as_it_is(network: InContext, scan: tuple[Encoded, np.ndarray]) -> None:
    support, label = scan
    slices, same = bring(network, support, label, ALL, support, SAME, "float32")
    assert slices is support and same is label


def test_labels_come_with_the_images(network: InContext, scan: tuple[Encoded, np.ndarray]) -> None:
    support, label = scan
    pose = Pose((64.0, 64.0), (64.0, 64.0), 60.0)
    query = turned(network, support, pose)
    slices, moved = bring(network, support, label, ALL, query, SAME, "float32")
    truth = pose.carry(torch.from_numpy(label.astype(np.float32))[:, None], "nearest")[:, 0].numpy()
    both = 2 * ((moved > 0) & (truth > 0)).sum() / ((moved > 0).sum() + (truth > 0).sum())
    before = 2 * ((label > 0) & (truth > 0)).sum() / ((label > 0).sum() + (truth > 0).sum())
    assert both > max(0.85, before)
    assert len(slices.features) == 8


def test_without_images_or_pairs_nothing_moves(
    network: InContext, scan: tuple[Encoded, np.ndarray]
) -> None:
    support, label = scan
    assert bring(network, support, label, ALL, support, [], "float32")[0] is support
    kept = replace(support, closeups=Closeups({}, Features({})))
    query = turned(network, support, Pose((64.0, 64.0), (64.0, 64.0), 60.0))
    assert bring(network, kept, label, ALL, query, SAME, "float32")[0] is kept
    assert bring(network, support, label, [7], query, SAME, "float32")[0] is support


def test_slices_without_a_wanted_label_are_not_compared(
    network: InContext, scan: tuple[Encoded, np.ndarray]
) -> None:
    support, label = scan
    blank = label.copy()
    blank[:4] = 0
    query = turned(network, support, Pose((64.0, 64.0), (64.0, 64.0), 60.0))
    few = bring(network, support, blank, ALL, query, SAME[4:], "float32")[1]
    every = bring(network, support, blank, ALL, query, SAME, "float32")[1]
    np.testing.assert_array_equal(few, every)


def test_each_query_slice_goes_with_the_support_slice_that_it_matches() -> None:
    assert matched_pairs(np.array([0, 1, 1, 2])) == [(0, 0), (1, 1), (1, 2), (2, 3)]
