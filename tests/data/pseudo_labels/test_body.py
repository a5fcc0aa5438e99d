import numpy as np
import pytest

from dpcenet.data.pseudo_labels.body import body_mask, contiguous_ids, to_byte_range
from dpcenet.errors import VolumeError


def test_body_is_the_largest_region_with_its_holes_filled():
    image = np.zeros((12, 14), np.float32)
    image[2:9, 2:9] = 20
    image[4:6, 4:6] = 0  # a hole
    image[9, 9] = 20  # touches the body by a corner only
    image[1:4, 11:13] = 20  # something beside the body
    image[11, :] = 10  # at the threshold, not above it
    expected = np.zeros((12, 14), bool)
    expected[2:9, 2:9] = True
    expected[9, 9] = True
    np.testing.assert_array_equal(body_mask(image, 10.0), expected)


def test_body_of_a_volume_is_found_slice_by_slice():
    image = np.zeros((3, 6, 6), np.float32)
    image[0, :2, :2] = 20
    image[1, :4, :4] = 20  # in 3-D the small square below would be another, smaller component
    image[2, 5, 5] = 20
    np.testing.assert_array_equal(body_mask(image, 10.0), image > 10)
    assert not body_mask(np.zeros((2, 5, 5), np.float32), 10.0).any()


def test_body_equals_the_official_one(golden):
    numbers = golden("pipeline")
    image = numbers["sv3d.in"].astype(np.float32)
    np.testing.assert_array_equal(body_mask(image, 10.0), numbers["sv3d.fgmask"] > 0)


def test_byte_range_does_not_depend_on_the_unit():
    image = np.array([[-3.0, 1.0], [0.0, 5.0]], np.float32)
    expected = (image + 3) / 8 * 255
    np.testing.assert_allclose(to_byte_range(image), expected, rtol=1e-6)
    np.testing.assert_allclose(to_byte_range(image * 40 + 7), expected, rtol=1e-6, atol=1e-4)
    assert to_byte_range(image).dtype == np.float32
    assert not to_byte_range(np.full((2, 2), 7, np.float32)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_byte_range_refuses_what_is_not_finite(bad):
    image = np.array([[0.0, 1.0], [2.0, bad]], np.float32)
    with pytest.raises(VolumeError, match="NaN or infinite"):
        to_byte_range(image)


def test_contiguous_ids_close_the_gaps_in_order():
    ids = contiguous_ids(np.array([[0, 7, 2], [2, 0, 5]]))
    np.testing.assert_array_equal(ids, [[0, 3, 1], [1, 0, 2]])
    assert ids.dtype == np.int32
    assert not contiguous_ids(np.zeros((2, 2), np.int32)).any()
