from __future__ import annotations

import itertools
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from dpcenet.data.phantom.phantom import PHANTOM_LABELS, phantom, write_phantoms
from dpcenet.types import Volume

Cases = list[tuple[Volume, Volume]]


@pytest.fixture(scope="module")
def cases() -> Cases:
    return [phantom(seed) for seed in range(8)]


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def centre_mm(labels: Volume, label: int) -> npt.NDArray[np.float64]:
    """Centre of mass of a label in RAS+ mm."""
    index = np.argwhere(labels.data == label).mean(axis=0)
    return (labels.affine @ [*index, 1])[:3]


def labels_at(labels: Volume, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
    """Labels of the voxels nearest to (N, 3) points."""
    index = np.linalg.inv(labels.affine) @ np.c_[points_mm, np.ones(len(points_mm))].T
    return ndimage.map_coordinates(labels.data, index[:3], order=0, cval=255)


def test_types_shape_and_labels(cases: Cases) -> None:
    for image, labels in cases:
        assert image.data.shape == labels.data.shape == (24, 160, 160)
        assert image.data.dtype == np.int16 and labels.data.dtype == np.uint8
        assert image.data.min() >= 0
        assert image.spacing == pytest.approx((6.0, 1.5, 1.5))
        assert np.array_equal(image.affine, labels.affine)
        counts = np.bincount(labels.data.ravel())
        assert len(counts) == 1 + len(PHANTOM_LABELS)
        assert counts.min() > 1000


def test_one_seed_is_one_phantom() -> None:
    for first, again in zip(phantom((3, 1)), phantom((3, 1)), strict=True):
        assert np.array_equal(first.data, again.data)
        assert np.array_equal(first.affine, again.affine)
    assert not np.array_equal(phantom((3, 1))[1].data, phantom((3, 2))[1].data)


@pytest.mark.parametrize(
    ("axes", "shape", "spacing"),
    [
        ("SPL", (24, 80, 80), (6.0, 3.0, 3.0)),
        ("IAR", (24, 80, 80), (6.0, 3.0, 3.0)),
        ("LSA", (80, 24, 80), (3.0, 6.0, 3.0)),
        ("ARI", (80, 80, 24), (3.0, 3.0, 6.0)),
    ],
)
def test_organs_lie_where_they_do_in_people_however_stored(
    axes: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    image, labels = phantom(5, shape, spacing, axes=axes)
    assert image.data.shape == shape
    assert image.spacing == pytest.approx(spacing)
    # nibabel, an independent reader of affines, must see the axes that were asked for.
    assert "".join(nib.aff2axcodes(image.affine)) == axes
    liver, right_kidney, left_kidney, spleen = (centre_mm(labels, k) for k in PHANTOM_LABELS)
    assert liver[0] > left_kidney[0] + 30 and right_kidney[0] > left_kidney[0] + 30
    assert spleen[0] < right_kidney[0] - 30
    assert liver[1] > max(right_kidney[1], left_kidney[1]) + 10  # kidneys lie behind
    assert liver[2] > right_kidney[2] and spleen[2] > left_kidney[2]  # and lower


def test_the_patient_does_not_depend_on_storage_or_obliqueness() -> None:
    _, labels = phantom(2, (24, 80, 80), (6.0, 3.0, 3.0))
    _, stored_otherwise = phantom(2, (80, 24, 80), (3.0, 6.0, 3.0), axes="RIA", oblique=False)
    for label in PHANTOM_LABELS:
        deep = np.argwhere(ndimage.binary_erosion(labels.data == label))
        points_mm = (labels.affine @ np.c_[deep, np.ones(len(deep))].T)[:3].T
        assert len(points_mm) > 50
        assert (labels_at(stored_otherwise, points_mm) == label).mean() > 0.97


def test_oblique_is_a_small_rotation() -> None:
    image, _ = phantom(1)
    straight, _ = phantom(1, oblique=False)
    rotation = np.linalg.inv(straight.affine[:3, :3]) @ image.affine[:3, :3]
    directions = image.affine[:3, :3] / image.spacing
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    assert (np.count_nonzero(straight.affine[:3, :3], axis=0) == 1).all()
    cosines = np.diag(rotation)
    assert (cosines < 1 - 1e-5).all() and (cosines > np.cos(np.deg2rad(15))).all()


def test_a_pasted_mask_is_neither_right_nor_hopeless(cases: Cases) -> None:
    means = {}
    for label in PHANTOM_LABELS:
        masks = [labels.data == label for _, labels in cases]
        means[label] = np.mean([overlap(a, b) for a, b in itertools.combinations(masks, 2)])
    assert max(means.values()) < 0.75
    assert min(means.values()) > 0.30
    assert 0.4 < np.mean(list(means.values())) < 0.65


@pytest.mark.parametrize("label", PHANTOM_LABELS)
def test_no_intensity_window_finds_an_organ(cases: Cases, label: int) -> None:
    best = []
    for image, labels in cases[:4]:
        organ = labels.data == label
        lows = np.percentile(image.data[organ], (1, 5, 10, 20))
        highs = np.percentile(image.data[organ], (80, 90, 95, 99))
        windows = itertools.product(lows, highs)
        best.append(max(overlap((image.data >= a) & (image.data <= b), organ) for a, b in windows))
    assert np.mean(best) < 0.65


def test_organs_differ_from_what_is_beside_them(cases: Cases) -> None:
    for image, labels in cases:
        air = np.median(image.data[:, :8, :8])
        for label in PHANTOM_LABELS:
            organ = labels.data == label
            rim = ndimage.binary_dilation(organ, iterations=3) & (labels.data == 0)
            assert np.median(image.data[organ]) > 1.2 * np.median(image.data[rim])
            assert np.median(image.data[organ]) > 3 * air


def test_written_files_hold_the_same_patient(tmp_path: Path) -> None:
    pairs = write_phantoms(tmp_path / "new" / "folder", 2, seed=7, shape=(12, 48, 40))
    names = [path.name for pair in pairs for path in pair]
    assert names == ["image_01.nii.gz", "label_01.nii.gz", "image_02.nii.gz", "label_02.nii.gz"]
    for number, paths in enumerate(pairs, 1):
        for path, volume in zip(paths, phantom((7, number), shape=(12, 48, 40)), strict=True):
            nifti = nib.load(path)
            assert nifti.shape == (40, 48, 12)
            assert nifti.get_data_dtype() == volume.data.dtype
            assert nifti.header.get_xyzt_units()[0] == "mm"
            x, y, z = 13, 30, 7
            assert nifti.dataobj[x, y, z] == volume.data[z, y, x]
            np.testing.assert_array_equal(np.asarray(nifti.dataobj).T, volume.data)
            np.testing.assert_allclose(
                nifti.affine @ [x, y, z, 1], volume.affine @ [z, y, x, 1], atol=1e-3
            )


@pytest.mark.parametrize("axes", ["SPX", "SP", "SPP", "SAP", "spl"])
def test_wrong_axes_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match="axes must name"):
        phantom(0, axes=axes)


def test_a_full_size_phantom_is_made_quickly() -> None:
    start = time.process_time()
    phantom(0, (36, 256, 256), (7.7, 1.25, 1.25))
    assert time.process_time() - start < 3  # about 0.5 s on one core
