"""Surfaces lie in millimetres where the mask lies, read back by another library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dpcenet.types import Volume
from dpcenet.volumes.mesh import surface, write_stl

RADIUS = 12.0


def ball(rotation: Rotation, spacing: np.ndarray, centre: np.ndarray, mirrored: bool) -> Volume:
    """A ball of RADIUS mm around `centre` (RAS mm) on a turned, perhaps mirrored grid."""
    axes = rotation.as_matrix() * spacing
    if mirrored:
        axes[:, 0] *= -1
    shape = np.ceil(2 * RADIUS / spacing).astype(int) + 4
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = centre - axes @ ((shape - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    places = index @ axes.T + affine[:3, 3]
    inside = np.linalg.norm(places - centre, axis=-1) <= RADIUS
    return Volume(np.where(inside, 3, 0).astype(np.uint8), affine)


@settings(max_examples=25, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.8, 3)] * 3),
    centre=st.tuples(*[st.floats(-300, 300)] * 3),
    mirrored=st.booleans(),
)
def test_a_ball_stays_where_it_is_in_millimetres(
    turn: tuple[float, ...],
    spacing: tuple[float, ...],
    centre: tuple[float, ...],
    mirrored: bool,
) -> None:
    volume = ball(Rotation.from_rotvec(turn), np.array(spacing), np.array(centre), mirrored)
    triangles = surface(volume, 3)
    lps = np.array(centre) * [-1, -1, 1]
    away = np.linalg.norm(triangles - lps, axis=-1)
    assert np.abs(away - RADIUS).max() < np.linalg.norm(spacing)
    one, two, three = np.moveaxis(triangles - lps, 1, 0)
    volumes = np.einsum("ti,ti->t", one, np.cross(two, three)) / 6
    assert (volumes > -1e-6 * volumes.sum()).all()  # every triangle looks outwards
    voxels = (volume.data == 3).sum() * np.prod(spacing)
    assert volumes.sum() == pytest.approx(voxels, rel=0.1)


def test_an_absent_label_has_no_triangles_and_makes_a_whole_file(tmp_path: Path) -> None:
    empty = surface(Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4)), 1)
    write_stl(empty, tmp_path / "empty.stl")
    assert len(empty) == 0 and (tmp_path / "empty.stl").stat().st_size == 84


def test_the_file_is_a_binary_stl_that_names_its_frame(tmp_path: Path) -> None:
    data = np.zeros((3, 3, 3), np.uint8)
    data[1, 1, 1] = 1
    affine = np.array([[0, 0, 2, 10], [0, 3, 0, 20], [4, 0, 0, 30], [0, 0, 0, 1]], float)
    write_stl(surface(Volume(data, affine), 1), tmp_path / "voxel.stl")
    content = (tmp_path / "voxel.stl").read_bytes()
    assert b"SPACE=LPS" in content[:80] and not content.startswith(b"solid")
    count = int.from_bytes(content[80:84], "little")
    assert len(content) == 84 + 50 * count
    rows = np.frombuffer(content[84:], "3<f4, (3,3)<f4, <u2")
    normals, corners = rows["f0"], rows["f1"]
    # One voxel becomes an octahedron whose tips lie half a voxel from its centre.
    assert count == 8
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    np.testing.assert_allclose(low, [-13, -24.5, 32])
    np.testing.assert_allclose(high, [-11, -21.5, 36])
    centre = np.array([-12, -23, 34])
    assert (np.einsum("ti,ti->t", normals, corners.mean(axis=1) - centre) > 0).all()
