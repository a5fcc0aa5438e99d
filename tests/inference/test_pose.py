"""Poses: where pixels go, and how similar two maps are when one is displaced."""

from __future__ import annotations

import math

import numpy as np
import torch

from dpcenet.inference.looks import Windows
from dpcenet.inference.pose import Pose, best_pose, similarity
from dpcenet.methods.base import PoseSearch


def test_a_point_goes_where_the_pose_takes_it() -> None:
    """A spot of the support, by hand: its centre + R(−rotation) of its distance, and back."""
    pose = Pose((30.0, 34.0), (40.0, 28.0), rotation=30.0)
    images = torch.zeros(1, 1, 64, 64)
    images[0, 0, 24:27, 40:43] = 1  # a spot at (25, 41)
    warped = pose.warp(images)[0, 0].numpy()
    y, x = (float((warped * axis).sum() / warped.sum()) for axis in np.indices((64, 64)))
    down, across = 25 - 30, 41 - 34
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    assert abs(y - (40 + (cos * down - sin * across))) < 0.2
    assert abs(x - (28 + (sin * down + cos * across))) < 0.2


def test_windows_are_those_of_the_warped_images() -> None:
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    images = torch.stack([(y / 9).sin() + (x / 7).cos(), (y * x / 300).sin()])[:, None]
    pose = Pose((40.0, 38.0), (42.0, 41.0), rotation=-20.0)
    window = Windows(torch.tensor([pose.query_centre] * 2), 16.0).cut(pose.warp(images), 32)
    torch.testing.assert_close(pose.windows(images, 16.0, 32), window, atol=0.03, rtol=0)


def test_the_identity_changes_nothing() -> None:
    images, pose = torch.randn(1, 1, 32, 48), Pose((10.0, 20.0), (10.0, 20.0))
    assert pose.is_identity
    torch.testing.assert_close(pose.warp(images), images, atol=1e-4, rtol=0)


def test_similarity_is_the_formula() -> None:
    random = np.random.default_rng(0)
    shown, seen = random.normal(size=(2, 3, 4, 5, 5)), random.normal(size=(3, 4, 5, 5))

    def unit(maps: np.ndarray) -> np.ndarray:
        maps = maps - maps.mean(axis=(-2, -1), keepdims=True)
        return maps / np.linalg.norm(maps, axis=-3, keepdims=True)

    s, q = unit(shown), unit(seen)
    axis = np.linspace(-1, 1, 5)
    weight = np.exp(-(axis[:, None] ** 2 + axis**2) / 0.6**2)
    found = similarity(torch.from_numpy(shown).float(), torch.from_numpy(seen).float(), 0.6, 2)
    for k, row, column in np.ndindex(2, 5, 5):
        total = there = 0.0
        for y, x in np.ndindex(5, 5):
            v, u = y + row - 2, x + column - 2
            if 0 <= v < 5 and 0 <= u < 5:
                total += weight[y, x] * float((s[k, :, :, y, x] * q[:, :, v, u]).sum()) / 3
                there += weight[y, x]
        assert abs(float(found[k, row, column]) - total / there) < 1e-5


def test_a_change_is_taken_that_is_worth_its_penalty_and_some_gain() -> None:
    """By hand: a cell is 2·16/8 = 4 pixels, half of a turn costs 0.05, a cell 4/32 of 0.1."""
    search = PoseSearch("image", 32, 1.0, (0.0, 45.0), reach=1, penalty=0.1, min_gain=0.02)
    start = Pose((30.0, 30.0), (30.0, 30.0))
    poses = [start, Pose((30.0, 30.0), (30.0, 30.0), 45.0)]
    scores = torch.zeros(2, 3, 3)
    scores[0, 1, 1] = 0.5
    for here, score, expected in (
        ((1, 1, 1), 0.56, start),  # 0.56 − 0.05 gains 0.01
        ((1, 1, 1), 0.58, poses[1]),
        ((0, 2, 1), 0.53, start),  # 0.53 − 0.0125 gains 0.0175
        ((0, 2, 1), 0.54, Pose((30.0, 30.0), (34.0, 30.0))),
        ((0, 1, 0), 0.54, Pose((30.0, 30.0), (30.0, 26.0))),
    ):
        changed = scores.clone()
        changed[here] = score
        assert best_pose(search, poses, changed, start, 16.0, 8) == expected
