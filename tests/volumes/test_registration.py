"""Labels carried over by registering two scans."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, gaussian_filter

from dpcenet.volumes.metrics import dice
from dpcenet.volumes.registration import carry_labels

SPACING = (6.0, 2.5, 2.5)


def patient() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """A body with two organs and some texture (Z, H, W), and the organs' labels 3 and 7."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (16, 72, 72)), indexing="ij")
    image = np.where(((y - 36) / 26) ** 2 + ((x - 36) / 31) ** 2 < 1, 1.0, 0.0)
    labels = np.zeros(image.shape, np.int16)
    for value, (middle, radii) in {
        3: ((8, 30, 24), (5, 11, 12)),
        7: ((7, 44, 52), (3, 7, 6)),
    }.items():
        at = zip((z, y, x), middle, radii, strict=True)
        labels[sum(((axis - m) / r) ** 2 for axis, m, r in at) < 1] = value
    image = image + 0.6 * (labels == 3) - 0.5 * (labels == 7)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=image.shape), (1, 2, 2))
    return (image + noise).astype(np.float32), labels


def test_labels_follow_a_patient_who_lies_elsewhere() -> None:
    image, labels = patient()
    turn = np.deg2rad(8.0)
    matrix = np.array(
        [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    )
    offset = np.array([1.0, 3.0, 0.0])
    moved = affine_transform(image, matrix, offset, order=1).astype(np.float32)
    truth = affine_transform(labels, matrix, offset, order=0)
    found = carry_labels(labels, image, moved, (SPACING, SPACING))
    assert found.shape == truth.shape and set(np.unique(found)) == {0, 3, 7}
    for value in (3, 7):
        pasted = dice(labels == value, truth == value)
        assert dice(found == value, truth == value) > max(0.88, pasted + 0.05)
    again = carry_labels(labels, image, moved, (SPACING, SPACING))
    assert np.array_equal(again, found)


def test_grids_may_differ_in_pixels_and_slices() -> None:
    image, labels = patient()
    coarse = image[:, ::2, ::2]
    found = carry_labels(labels, image, coarse, (SPACING, (6.0, 5.0, 5.0)))
    assert found.shape == coarse.shape
    for value in (3, 7):
        assert dice(found == value, labels[:, ::2, ::2] == value) > 0.85
