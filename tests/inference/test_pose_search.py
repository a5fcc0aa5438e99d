"""A labelled scan is aligned with a query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.data.phantom.phantom import phantom
from dpcenet.inference.encoded import EncodedScan, EncodedWindows, encode_scan
from dpcenet.inference.pose import Pose, align_support, find_pose, matched_pairs
from dpcenet.inference.support import LabelledScan
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
def scan(network: InContext) -> LabelledScan:
    """A phantom's slices, z-scored and encoded, and their labels."""
    volume, labels = phantom(1, (8, 128, 128))
    image = volume.data.astype(np.float32)
    image = (image - image.mean()) / image.std()
    slices = encode_scan(network, image, (6.0, 1.5, 1.5), CPU, "float32")
    return LabelledScan("phantom", slices, labels.data.astype(np.uint8))


def rotated(network: InContext, scan: LabelledScan, degrees: float) -> EncodedScan:
    """The scan as a query that lies rotated."""
    images = around_the_middle(degrees).warp(scan.slices.images)
    return encode_scan(network, images[:, 0].numpy(), scan.slices.spacing, CPU, "float32")


def around_the_middle(degrees: float) -> Pose:
    return Pose((64.0, 64.0), (64.0, 64.0), degrees)


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 45.0])
def test_the_rotation_of_a_rotated_scan_is_found(
    network: InContext, scan: LabelledScan, degrees: float
) -> None:
    query, search = rotated(network, scan, degrees), network.pose_search
    assert search is not None
    pose = find_pose(network, search, scan.slices, scan.label, query, SAME, "float32")
    assert abs(pose.rotation - degrees) <= 15


def test_the_same_scan_stays_as_it_is(network: InContext, scan: LabelledScan) -> None:
    assert align_support(network, scan, ALL, scan.slices, SAME, "float32") is scan


def test_labels_come_with_the_images(network: InContext, scan: LabelledScan) -> None:
    query = rotated(network, scan, 60.0)
    aligned = align_support(network, scan, ALL, query, SAME, "float32")
    masks = torch.from_numpy(scan.label.astype(np.float32))[:, None]
    truth = around_the_middle(60.0).warp(masks, "nearest")[:, 0].numpy() > 0
    before, after = (
        2 * ((label > 0) & truth).sum() / ((label > 0).sum() + truth.sum())
        for label in (scan.label, aligned.label)
    )
    assert after > max(0.85, before)
    assert len(aligned.slices.features) == 8


def test_without_images_or_pairs_nothing_moves(network: InContext, scan: LabelledScan) -> None:
    assert align_support(network, scan, ALL, scan.slices, [], "float32") is scan
    slices = replace(scan.slices, windows=EncodedWindows({}, Features({})))
    kept, query = replace(scan, slices=slices), rotated(network, scan, 60.0)
    assert align_support(network, kept, ALL, query, SAME, "float32") is kept
    assert align_support(network, scan, [7], query, SAME, "float32") is scan


def test_slices_without_a_wanted_label_are_not_compared(
    network: InContext, scan: LabelledScan
) -> None:
    label = scan.label.copy()
    label[:4] = 0
    blank, query = replace(scan, label=label), rotated(network, scan, 60.0)
    few = align_support(network, blank, ALL, query, SAME[4:], "float32")
    every = align_support(network, blank, ALL, query, SAME, "float32")
    np.testing.assert_array_equal(few.label, every.label)


def test_each_query_slice_goes_with_the_support_slice_that_it_matches() -> None:
    assert matched_pairs(np.array([0, 1, 1, 2])) == [(0, 0), (1, 1), (1, 2), (2, 3)]
