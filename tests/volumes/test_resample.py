"""Interpolation against SciPy and the lineage's own numbers."""

import numpy as np
import pytest
from scipy import ndimage

from dpcenet.volumes.resample import (
    crop_or_pad,
    linear,
    linear_labels,
    resampled_length,
)


def lattice(arrays):
    """Shape and positions of the golden resampling, spacing given as (x, y, z)."""
    ratio = (arrays["resample.spacing_out"] / arrays["resample.spacing_in"])[::-1]
    shape = arrays["resample.in"].shape
    lengths = [resampled_length(n, s) for n, s in zip(shape, ratio, strict=True)]
    return [np.arange(n) * s for n, s in zip(lengths, ratio, strict=True)]


def test_golden_image(golden):
    arrays = golden("pipeline")
    out = linear(arrays["resample.in"], lattice(arrays))
    assert out.shape == arrays["resample.out"].shape
    np.testing.assert_allclose(out, arrays["resample.out"], atol=1e-6)


def test_golden_labels(golden):
    arrays = golden("pipeline")
    out = linear_labels(arrays["resample.label_in"], lattice(arrays))
    np.testing.assert_array_equal(out, arrays["resample.label_out"])


@pytest.mark.parametrize("size", [24, 40])
def test_golden_crop(golden, size):
    arrays = golden("pipeline")
    image = arrays["resample.out"]
    offset = (0, image.shape[1] // 2 - size // 2, image.shape[2] // 2 - size // 2)
    out = crop_or_pad(image, offset, (len(image), size, size), image.min())
    np.testing.assert_array_equal(out, arrays[f"crop.{size}"].astype(np.float32))


def random(shape=(5, 7, 6), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_linear_is_scipys():
    data = random()
    at = [np.linspace(0, n - 1, 11) for n in data.shape]
    grid = np.meshgrid(*at, indexing="ij")
    expected = ndimage.map_coordinates(data.astype(np.float64), grid, order=1)
    np.testing.assert_allclose(linear(data, at), expected, atol=1e-6)


def test_linear_is_exact_at_the_voxels():
    data = random() * np.float32(1e4)
    data[2, 3, 3] = 1e-20
    np.testing.assert_array_equal(linear(data, [np.arange(n * 1.0) for n in data.shape]), data)


def test_the_data_reach_half_a_voxel_beyond_their_centres():
    data = np.full((1, 1, 3), 4.0)
    at = [np.zeros(1), np.zeros(1), np.array([-0.6, -0.4, 2.4, 2.6])]
    np.testing.assert_array_equal(linear(data, at, fill=-1)[0, 0], [-1, 4, 4, -1])


def test_crop_or_pad_beyond_every_side():
    data = np.arange(6).reshape(1, 2, 3)
    out = crop_or_pad(data, (0, -1, 1), (1, 4, 3), fill=9)
    np.testing.assert_array_equal(out[0], [[9, 9, 9], [1, 2, 9], [4, 5, 9], [9, 9, 9]])
    assert (crop_or_pad(data, (0, 5, 0), (1, 2, 3), fill=9) == 9).all()


def test_length_follows_the_lineage_and_keeps_an_equal_spacing():
    assert resampled_length(256, 1.0) == 256
    assert resampled_length(448, 1.75) == 257
    assert resampled_length(20, 1.25 / 1.6) == 26


def test_each_label_is_where_it_exceeds_one_half_on_the_whole_grid():
    labels = np.zeros((6, 9, 8), np.uint8)
    labels[1:3, 2:5, 1:4], labels[2:6, 4:9, 5:8], labels[0, 0, 0] = 3, 7, 200
    at = [np.arange(n * 2) * 0.47 - 0.3 for n in labels.shape]
    expected = sum(np.where(linear(labels == v, at) > 0.5, v, 0) for v in (3, 7, 200))
    assert set(np.unique(expected)) == {0, 3, 7, 200}
    np.testing.assert_array_equal(linear_labels(labels, at), expected)
