import itertools

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dpcenet.data.pseudo_labels.body import to_byte_range
from dpcenet.data.pseudo_labels.felzenszwalb import compiled, stable_order
from dpcenet.data.pseudo_labels.supervoxels import (
    DIRECTIONS,
    edge_costs,
    felzenszwalb_3d,
    supervoxels,
)
from dpcenet.errors import VolumeError

ANISOTROPIC = (7.7, 1.25, 1.25)


def adjusted_rand_index(a, b):
    """Hubert and Arabie (1985), from the contingency table: 1 for the same partition."""
    a = np.unique(a, return_inverse=True)[1].ravel()
    b = np.unique(b, return_inverse=True)[1].ravel()
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts):
        return (counts * (counts - 1) / 2).sum()

    in_a, in_b = pairs(table.sum(1)), pairs(table.sum(0))
    by_chance = in_a * in_b / pairs(table.sum().reshape(1))
    return (pairs(table) - by_chance) / ((in_a + in_b) / 2 - by_chance)


def cost_weight(step, slice_ratio):
    """The four weights, as written in the description of the official code."""
    z, in_plane = abs(step[0]), abs(step[1]) + abs(step[2])
    if z == 0:
        return 1.0
    squares = {0: slice_ratio**2, 1: (1 + slice_ratio**2) / 2, 2: (2 + slice_ratio**2) / 3}
    return np.sqrt(squares[in_plane])


def slow_felzenszwalb(image, slice_ratio, scale, min_size):
    """The algorithm with sets in plain Python, for images whose edge costs all differ."""
    edges = []
    for here in np.ndindex(image.shape):
        for step in itertools.product((-1, 0, 1), repeat=3):
            there = tuple(np.add(here, step))
            if here < there and all(0 <= i < n for i, n in zip(there, image.shape, strict=True)):
                difference = abs(float(image[here]) - float(image[there]))
                edges.append((difference * cost_weight(step, slice_ratio), here, there))
    edges.sort()
    segment = {voxel: {voxel} for voxel in np.ndindex(image.shape)}
    internal = dict.fromkeys(segment, 0.0)

    def unite(a, b):
        united = segment[a] | segment[b]
        segment.update(dict.fromkeys(united, united))
        return united

    def limit(voxel):
        return internal[voxel] + scale / 255 / len(segment[voxel])

    for cost, a, b in edges:
        if segment[a] is not segment[b] and cost < min(limit(a), limit(b)):
            internal.update(dict.fromkeys(unite(a, b), cost))
    for _, a, b in edges:
        smaller = min(len(segment[a]), len(segment[b]))
        if segment[a] is not segment[b] and smaller < min_size:
            unite(a, b)
    ids = np.zeros(image.shape, int)
    for voxel, members in segment.items():
        ids[voxel] = np.ravel_multi_index(min(members), image.shape)
    return ids


def noisy_phantom(shape=(6, 20, 24), seed=0):
    """Blobs in air on the 0…255 scale, with noise; (Z, Y, X) float32."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (0.7, 3, 3))
    image = to_byte_range(blobs.astype(np.float32)) + rng.normal(0, 4, shape).astype(np.float32)
    image[:, :3] = image[:, :, :4] = image[:, -2:] = 0
    return np.clip(image, 0, 255)


def test_supervoxels_equal_the_official_ones(golden):
    numbers = golden("pipeline")
    image = numbers["sv3d.in"].astype(np.float32)
    raw = felzenszwalb_3d(image, ANISOTROPIC, min_size=120)
    assert adjusted_rand_index(raw, numbers["sv3d.raw"]) >= 0.9
    masked = supervoxels(image, ANISOTROPIC, min_size=120)
    assert adjusted_rand_index(masked, numbers["sv3d.masked"]) >= 0.9
    np.testing.assert_array_equal(masked > 0, numbers["sv3d.fgmask"] > 0)


def test_the_index_tells_partitions_apart(golden):
    """Guards the test above: the wrong spacing must not pass it."""
    numbers = golden("pipeline")
    wrong = felzenszwalb_3d(numbers["sv3d.in"].astype(np.float32), ANISOTROPIC[::-1], min_size=120)
    assert adjusted_rand_index(wrong, numbers["sv3d.raw"]) < 0.85


@pytest.mark.parametrize(("scale", "min_size"), [(1.0, 1), (1.0, 9), (3e4, 1), (3e4, 12)])
def test_partition_equals_plain_python(scale, min_size):
    image = np.random.default_rng(5).uniform(0, 255, (4, 6, 5)).astype(np.float32)
    ours = felzenszwalb_3d(image, (5.0, 2.0, 2.0), scale=scale, min_size=min_size)
    expected = slow_felzenszwalb(image, 2.5, scale, min_size)
    np.testing.assert_array_equal(ours, np.unique(expected, return_inverse=True)[1])
    if scale > 1 or min_size > 1:
        assert 1 < ours.max() + 1 < image.size / 2  # neither trivial partition


def test_edge_costs_of_every_direction():
    image = np.random.default_rng(1).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    costs = edge_costs(image, 6.16)
    assert len({tuple(np.multiply(sign, d)) for d in DIRECTIONS for sign in (1, -1)}) == 26
    for cost, step in zip(costs, DIRECTIONS, strict=True):
        for here in np.ndindex(image.shape):
            there = tuple(np.add(here, step))
            if all(0 <= i < n for i, n in zip(there, image.shape, strict=True)):
                expected = abs(image[here] - image[there]) * cost_weight(step, 6.16)
                assert cost[here] == pytest.approx(expected, rel=1e-5)
            else:
                assert np.isinf(cost[here])


def test_order_of_edges_is_stable():
    rng = np.random.default_rng(2)
    costs = rng.integers(0, 50, 5000).astype(np.float32) * np.float32(0.37)
    costs[::97] = np.inf
    costs[1::89] = rng.uniform(0, 1e-3, len(costs[1::89]))
    np.testing.assert_array_equal(stable_order(costs), np.argsort(costs, kind="stable"))


def test_compiles_where_no_cache_can_be_written():
    """Numba refuses to cache a function without a file, as it does one in a read-only folder."""
    names = {}
    exec("def double(x):\n    return 2 * x", names)
    assert compiled(names["double"])(21) == 42


def test_spacing_belongs_to_its_axis():
    """A small region joins across z where slices are near, within its slice where they are far."""
    image = np.full((2, 4, 12), 15, np.float32)  # slice 1: B
    image[0, :, :4] = 10  # A, too small to stay alone: 5 away from B, 10 away from C
    image[0, :, 4:] = 20  # C
    far = felzenszwalb_3d(image, (6.0, 1.0, 1.0), min_size=17)
    near = felzenszwalb_3d(image, (1.0, 1.0, 1.0), min_size=17)
    np.testing.assert_array_equal(far, np.indices(image.shape)[0])
    np.testing.assert_array_equal(near, image == 20)


@pytest.mark.parametrize("seed", range(3))
def test_segments_are_connected_and_large_enough(seed):
    segments = felzenszwalb_3d(noisy_phantom(seed=seed), ANISOTROPIC, min_size=60)
    sizes = np.bincount(segments.ravel())
    assert len(sizes) > 3
    assert sizes.min() >= 60
    for segment in range(len(sizes)):
        _, parts = ndimage.label(segments == segment, structure=np.ones((3, 3, 3)))
        assert parts == 1


@pytest.mark.parametrize("seed", range(3))
def test_ids_are_contiguous_and_zero_is_outside(seed):
    image = noisy_phantom(seed=seed)
    ids = supervoxels(image, ANISOTROPIC, min_size=60)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(np.unique(ids), np.arange(ids.max() + 1))
    assert ids.max() > 2
    assert not ids[:, :3].any()
    np.testing.assert_array_equal(ids, supervoxels(image.copy(), ANISOTROPIC, min_size=60))


def test_any_unit_and_memory_order_give_the_same_supervoxels():
    image = np.round(noisy_phantom())
    image.flat[0], image.flat[1] = 0, 255  # powers of two below keep the costs exact
    expected = supervoxels(image, ANISOTROPIC, min_size=60)
    np.testing.assert_array_equal(supervoxels(image * 4 - 512, ANISOTROPIC, min_size=60), expected)
    fortran = np.asfortranarray(image)
    np.testing.assert_array_equal(supervoxels(fortran, ANISOTROPIC, min_size=60), expected)


def test_sigma_smooths_as_far_along_z_as_in_plane():
    image = noisy_phantom()
    smooth = image
    for axis, mm in enumerate(ANISOTROPIC):
        smooth = ndimage.gaussian_filter1d(smooth, 1.5 * ANISOTROPIC[2] / mm, axis)
    expected = felzenszwalb_3d(smooth, ANISOTROPIC, min_size=60)
    ours = felzenszwalb_3d(image, ANISOTROPIC, min_size=60, sigma=1.5)
    np.testing.assert_array_equal(ours, expected)
    assert (ours != felzenszwalb_3d(image, ANISOTROPIC, min_size=60)).any()


def test_degenerate_scans():
    empty = np.zeros((2, 5, 5), np.float32)
    assert not supervoxels(empty, ANISOTROPIC).any()
    smaller_than_a_segment = supervoxels(noisy_phantom(), ANISOTROPIC, min_size=10**6)
    assert set(np.unique(smaller_than_a_segment)) == {0, 1}
    with pytest.raises(VolumeError):
        supervoxels(np.full((2, 5, 5), np.nan, np.float32), ANISOTROPIC)


def test_a_real_scan_has_a_few_dozen(real_scans):
    folder = real_scans("chaos_t2spir")
    scan = nib.load(folder / "image_02.nii.gz").get_fdata(dtype=np.float32).T
    organs = np.asarray(nib.load(folder / "label_02.nii.gz").dataobj).T > 0
    ids = supervoxels(scan, ANISOTROPIC)
    assert 20 <= ids.max() <= 39
    assert (ids[organs] > 0).all()
