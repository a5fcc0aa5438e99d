"""Repairs of one case, against arrays made by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpcenet.data.datasets.spec import RawCase
from dpcenet.data.doctor.repair import repair
from dpcenet.types import Volume
from dpcenet.volumes.scan_file import ScanFile, SourceGrid

AFFINE = np.diag([1.0, 1.0, 5.0, 1.0])[:, [2, 1, 0, 3]]


def case(image: npt.NDArray[np.generic], labels: Volume | None) -> RawCase:
    volume = Volume(image, AFFINE)
    return RawCase(ScanFile(volume, SourceGrid.of(volume)), labels)


def test_a_good_case_is_not_changed() -> None:
    image = np.arange(24.0).reshape(2, 3, 4)
    labels = Volume((image > 11).astype(np.uint8), AFFINE)
    found = repair(case(image, labels))
    assert found.changes == () and found.label is not None
    assert found.image.data is image
    np.testing.assert_array_equal(found.label.data, labels.data)


def test_nan_and_infinity_get_the_lowest_value_in_a_copy() -> None:
    image = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4) + 3
    image[0, 0, 1], image[1, 2, 3] = np.nan, np.inf
    found = repair(case(image, None))
    expected = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4) + 3
    expected[0, 0, 1] = expected[1, 2, 3] = 3
    np.testing.assert_array_equal(found.image.data, expected)
    assert found.changes == ("2 NaN or infinite voxels got the lowest value",)
    assert np.isnan(image[0, 0, 1]) and found.label is None


def test_labels_become_whole_numbers_from_zero_up() -> None:
    raw = np.array([[[0.2, 0.9, -3.0, np.nan]]])
    found = repair(case(np.arange(4.0).reshape(1, 1, 4), Volume(raw, AFFINE)))
    assert found.label is not None
    np.testing.assert_array_equal(found.label.data, [[[0, 1, 0, 0]]])
    assert found.changes == ("4 label voxels became whole numbers from 0 up",)


def test_labels_of_the_images_shape_get_its_grid_and_others_are_resampled() -> None:
    image = np.arange(24.0).reshape(2, 3, 4)
    data = np.zeros((2, 3, 4), np.uint8)
    data[1, 2, 3] = 1
    moved = AFFINE.copy()
    moved[0, 3] += 7
    found = repair(case(image, Volume(data, moved)))
    assert found.label is not None
    np.testing.assert_array_equal(found.label.affine, AFFINE)
    np.testing.assert_array_equal(found.label.data, data)
    assert found.changes == ("the labels were moved onto their image, by up to 7.0 mm",)
    shifted = AFFINE.copy()
    shifted[:3, 3] += AFFINE[:3, 1]  # the labels start at the second row of the image
    found = repair(case(image, Volume(data[:, 1:], shifted)))
    assert found.label is not None
    np.testing.assert_array_equal(found.label.data, data)
