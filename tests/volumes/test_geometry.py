"""Slice axis, orientation of any stored order, and the checks of an affine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.geometry import check_affine, match_axes, orient, same_grid, slice_axis
from phantoms import STORED_48, make_phantom, positions, store

spacings = st.tuples(*[st.sampled_from([0.7, 1.0, 1.3, 3.0, 5.0])] * 3)
turns = st.tuples(*[st.floats(-180, 180)] * 3)
stored = st.sampled_from(STORED_48)


def box(spacing, degrees=(0, 0, 0), shape=(4, 5, 6)):
    _, labels = make_phantom(shape, spacing, degrees)
    data = np.arange(labels.data.size, dtype=np.int16).reshape(shape)
    return Volume(data, labels.affine)


def same(a, b):
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_allclose(a.affine, b.affine, atol=1e-9)


@settings(deadline=None)
@given(spacings, turns, stored)
def test_however_a_volume_is_stored_it_is_oriented_alike(spacing, degrees, axes):
    volume = box(spacing, degrees)
    same(orient(store(volume, axes))[0], orient(volume)[0])


@settings(deadline=None)
@given(spacings, turns, turns, stored)
def test_however_a_volume_is_stored_it_is_oriented_alike_after_another(spacing, a, b, axes):
    support, volume = orient(box((5.0, 1.0, 1.2), a))[0], box(spacing, b)
    found, _ = orient(store(volume, axes), like=support.affine)
    same(found, orient(volume, like=support.affine)[0])


@settings(deadline=None)
@given(turns, stored)
def test_every_voxel_keeps_its_place(degrees, axes):
    volume = store(box((5.0, 1.0, 1.2), degrees), axes)
    oriented, _ = orient(volume)
    place = {int(v): p for v, p in zip(volume.data.flat, flat_positions(volume), strict=True)}
    for value, at in zip(oriented.data.flat, flat_positions(oriented), strict=True):
        np.testing.assert_allclose(at, place[int(value)], atol=1e-9)


def flat_positions(volume):
    return positions(volume.data.shape, volume.affine).reshape(-1, 3)


@pytest.mark.parametrize("axes", STORED_48)
def test_invert_is_exact(axes):
    volume = store(box((5.0, 1.0, 1.2), (10, 20, 30)), axes)
    oriented, orientation = orient(volume)
    np.testing.assert_array_equal(orientation.invert(oriented.data), volume.data)


@pytest.mark.parametrize(
    ("spacing", "slices", "rows", "columns"),
    [
        ((5, 1, 1), (0, 0, 5), (0, -1, 0), (-1, 0, 0)),  # axial: up, back, left
        ((1, 5, 1), (0, -5, 0), (0, 0, -1), (-1, 0, 0)),  # coronal: back, down, left
        ((1, 1, 5), (5, 0, 0), (0, 0, -1), (0, -1, 0)),  # sagittal: right, down, back
        ((1, 1, 1), (0, 0, 1), (0, -1, 0), (-1, 0, 0)),  # isotropic: axial
        ((3, 3, 1), (0, 0, 3), (0, -1, 0), (-1, 0, 0)),  # two thick axes: the one to the head
    ],
)
@pytest.mark.parametrize("axes", STORED_48[::5])
def test_display_of_each_slice_axis(spacing, slices, rows, columns, axes):
    oriented, _ = orient(store(box(spacing), axes))
    expected = np.array([slices, rows, columns]).T
    if spacing == (3, 3, 1):  # columns are then the fine axis
        expected = np.array([(0, 0, 3), (0, -3, 0), (-1, 0, 0)]).T
    np.testing.assert_allclose(oriented.affine[:3, :3], expected, atol=1e-12)


def test_slice_axis():
    assert slice_axis(box((1.0, 5.0, 1.0))) == 1
    assert slice_axis(box((1.0, 1.0, 1.4))) == 0  # not thick enough: the one towards the head
    assert slice_axis(box((1.0, 1.0, 1.5))) == 2


def test_like_matches_the_axes_of_the_support_where_the_display_would_not():
    support = Volume(np.zeros((3, 4, 5)), np.diag([-1.0, 2.0, -3.0, 1.0]))
    query = box((1.0, 1.0, 1.1), (3, 4, 5))
    oriented, _ = orient(query, like=support.affine)
    cosines = oriented.affine[:3, :3] / np.array(oriented.spacing) @ np.diag([-1, 1, -1])
    assert (np.diag(cosines) > 0.98).all()


def test_like_leaves_a_thick_query_its_own_slice_axis():
    support, _ = orient(box((5.0, 1.0, 1.0)))
    oriented, _ = orient(box((1.0, 5.0, 1.0)), like=support.affine)
    assert oriented.spacing[0] == pytest.approx(5.0)


@pytest.mark.parametrize("axes", STORED_48)
def test_match_axes_brings_back_any_order(axes):
    volume = box((5.0, 1.0, 1.2), (10, 20, 30))
    same(match_axes(store(volume, axes), volume.affine)[0], volume)


def changed(**entries):
    affine = np.diag([5.0, 1.0, 1.0, 1.0])
    for key, value in entries.items():
        affine[int(key[1]), int(key[2])] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "found"),
    [
        (changed(a03=np.nan), "not finite"),
        (changed(a11=np.inf), "not finite"),
        (changed(a11=0.0), "singular"),
        (changed(a11=0.0, a21=1.0), "singular"),
        (changed(a12=0.05), "sheared"),
        (changed(a30=1.0), "last row"),
    ],
)
def test_bad_affines_are_named(affine, found):
    with pytest.raises(VolumeError, match=found) as error:
        check_affine(affine, "scan.nii")
    assert str(error.value).startswith("scan.nii: ")


def test_a_good_affine_passes():
    check_affine(box((5.0, 1.0, 1.2), (10, 20, 30)).affine, "scan.nii")


def test_same_grid_is_the_largest_corner_distance():
    a = box((5.0, 1.0, 1.0))
    moved = a.affine.copy()
    moved[:3, 3] += (3.0, 0.0, 4.0)
    assert same_grid(a, a) == 0
    assert same_grid(a, Volume(a.data, moved)) == pytest.approx(5.0)
    stretched = a.affine @ np.diag([1.0, 1.0, 1.2, 1.0])  # 5 columns on, 0.2 mm each
    assert same_grid(a, Volume(a.data, stretched)) == pytest.approx(1.0)
    assert same_grid(a, Volume(a.data[1:], a.affine)) == np.inf
