"""Prepared slices lie where their affine says, and everything comes back to the scan."""

import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.preprocess import Preprocessing, Record, preprocess, preprocess_labels
from dpcenet.volumes.write_masks import write_mask
from phantoms import STORED_48, centroid, make_phantom, positions, restored, store

KEEP = {"clip_percentile": None, "mean": 0.0, "std": 1.0}
"""Rules that leave intensities alone."""

RULES = {
    "as it is": Preprocessing(size=128, **KEEP),
    "finer": Preprocessing(size=160, spacing_mm=0.7, **KEEP),
    "coarser": Preprocessing(size=96, spacing_mm=1.5, **KEEP),
    "fitted": Preprocessing(size=64, spacing_mm=0.5, **KEEP),
    "odd": Preprocessing(size=63, **KEEP),
    "cropped": Preprocessing(size=48, spacing_mm=1.5, overflow="crop", **KEEP),
    "slices": Preprocessing(size=96, spacing_mm=1.4, slice_spacing_mm=4.5, **KEEP),
}


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_every_prepared_voxel_is_the_scan_at_its_place(rules):
    """The prepared affine and image against SciPy's interpolation at the same mm."""
    image, _ = make_phantom()
    prepared, _ = preprocess(image, rules)
    at = positions(prepared.image.shape, prepared.affine)
    index = (at - image.affine[:3, 3]) @ np.linalg.inv(image.affine[:3, :3]).T
    axes = [np.arange(n) for n in image.data.shape]
    scan = RegularGridInterpolator(axes, image.data, bounds_error=False, fill_value=np.nan)
    expected = scan(np.round(index, 9))
    inside = np.isfinite(expected)
    # Cropping by intent aside, all of the scan is there.
    assert inside.any(axis=(1, 2)).sum() >= len(image.data) - 1
    np.testing.assert_allclose(prepared.image[inside], expected[inside], atol=2e-3)
    half = 0.5 + 1e-6
    outside = ((index < -half) | (index > np.array(image.data.shape) - 1 + half)).any(axis=-1)
    assert (prepared.image[outside] == image.data.min()).all()


@pytest.mark.parametrize("name", [name for name in RULES if name != "cropped"])
def test_labels_come_back(name):
    _, labels = make_phantom()
    _, record = preprocess(make_phantom()[0], RULES[name])
    there = preprocess_labels(labels, record)
    assert there.dtype == np.uint8 and there.shape == record.shape
    back = restored(record, there)
    assert back.shape == labels.data.shape
    for label in (1, 2):
        truth, found = labels.data >= label, back >= label
        smooth = record.restore_probability((there >= label).astype(np.float32)) > 0.5
        assert dice(truth, found) >= 0.97
        assert dice(truth, smooth) >= 0.97
        middle = centroid(truth, labels.affine)
        assert np.linalg.norm(centroid(found, labels.affine) - middle) < min(labels.spacing) / 2
        apart = centroid(there >= label, record.affine) - middle
        assert np.linalg.norm(apart) < min(record.spacing) / 2


@pytest.mark.parametrize("n", [96, 100, 300, 512, 700])
def test_a_scan_that_fits_comes_back_whole(n):
    """Rows and columns at the border too, whatever the size."""
    image = Volume(np.random.default_rng(0).normal(size=(2, n, n - 7)), np.diag([5, 1, 1.2, 1.0]))
    prepared, record = preprocess(image, Preprocessing(size=96, **KEEP))
    ones = np.ones(prepared.image.shape, dtype=np.uint8)
    assert restored(record, ones).all()
    np.testing.assert_array_equal(record.restore_probability(ones.astype(np.float32)), 1)


def test_cropping_loses_only_what_lies_outside():
    image, _ = make_phantom()
    prepared, record = preprocess(image, RULES["cropped"])
    back = restored(record, np.ones(prepared.image.shape, dtype=np.uint8))
    at = positions(image.data.shape, image.affine)
    index = (at - record.affine[:3, 3]) @ np.linalg.inv(record.affine[:3, :3]).T
    expected = ((index > -0.5) & (index < np.array(prepared.image.shape) - 0.5)).all(axis=-1)
    np.testing.assert_array_equal(back, expected)
    assert prepared.spacing == pytest.approx((6.0, 1.5, 1.5))


MARGINS = {"even": ((12, 12), (12, 12)), "aside": ((0, 20), (23, 4)), "one side": ((0, 30), (0, 0))}


@pytest.mark.parametrize("noise", [0, 3])
@pytest.mark.parametrize("margins", MARGINS.values(), ids=MARGINS)
def test_air_around_the_body_makes_no_pixel_coarser(margins, noise):
    """A larger field of view: the body keeps the size and the grey values that it had."""
    image, labels = make_phantom((4, 40, 40), (5.0, 1.5, 1.5))
    data = np.where(labels.data > 0, 100 + 50 * labels.data.astype(float), 60.0)
    scan = Volume(data, image.affine)
    rules = Preprocessing.for_mr(size=40, spacing_mm=1.5)
    alone, _ = preprocess(scan, rules)
    (top, bottom), (left, right) = margins
    shape = (4, 40 + top + bottom, 40 + left + right)
    wide = np.random.default_rng(0).integers(0, noise + 1, shape).astype(float)
    here = (slice(None), slice(top, top + 40), slice(left, left + 40))
    wide[here] = data
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, 1] * top + affine[:3, 2] * left
    prepared, record = preprocess(Volume(wide, affine), rules)
    assert prepared.spacing == pytest.approx(alone.spacing)
    assert np.allclose(prepared.image, alone.image, atol=1e-5)
    assert np.allclose(prepared.affine, alone.affine, atol=1e-4)
    truth = np.zeros(shape, np.uint8)
    truth[here] = labels.data
    there = preprocess_labels(Volume(truth, affine), record)
    assert np.array_equal(restored(record, there), truth)


def test_a_body_that_does_not_fit_is_fitted_and_none_of_it_is_lost():
    data = np.zeros((3, 90, 64))
    data[:, 7:80, 2:60] = 100 + np.arange(58)
    scan = Volume(data, np.diag([4.0, 1.0, 1.0, 1.0]))
    truth = Volume((data > 0).astype(np.uint8), scan.affine)
    prepared, record = preprocess(scan, Preprocessing.for_mr(size=40, spacing_mm=1.0))
    assert prepared.spacing[1] == pytest.approx(73 / 40, rel=0.03)  # 90 / 40 with its margins
    back = restored(record, preprocess_labels(truth, record))
    assert dice(back > 0, truth.data > 0) > 0.97
    cropped, _ = preprocess(scan, Preprocessing.for_mr(size=40, spacing_mm=1.0, overflow="crop"))
    assert cropped.spacing[1] == 1.0


@pytest.mark.parametrize("spacing_mm", [None, 1.25, 1.2505])
def test_nothing_is_interpolated_at_the_same_spacing_and_size(spacing_mm):
    """The scan's own numbers, also where it has to be padded."""
    data = np.random.default_rng(0).integers(0, 900, size=(5, 64, 50)).astype(np.int16)
    affine = np.diag([-1.25, -1.25, 7.7, 1.0])[:, [2, 1, 0, 3]]
    image = Volume(data, affine)
    prepared, record = preprocess(image, Preprocessing(size=64, spacing_mm=spacing_mm, **KEEP))
    np.testing.assert_array_equal(prepared.image[:, :, 7:57], data)
    assert (prepared.image[:, :, :7] == data.min()).all()
    assert prepared.spacing == pytest.approx((7.7, 1.25, 1.25))
    labels = (data % 3).astype(np.uint8)
    there = preprocess_labels(Volume(labels, image.affine), record)
    np.testing.assert_array_equal(restored(record, there), labels)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(STORED_48), st.sampled_from(sorted(RULES)))
def test_however_a_scan_is_stored_it_is_prepared_alike_and_its_mask_lies_alike(axes, name):
    image, labels = make_phantom((8, 40, 36))
    prepared, record = preprocess(image, RULES[name])
    other = store(image, axes)
    again, its_record = preprocess(other, RULES[name])
    np.testing.assert_allclose(again.image, prepared.image, atol=1e-3)
    np.testing.assert_allclose(again.affine, prepared.affine, atol=1e-9)
    there = preprocess_labels(labels, record)
    np.testing.assert_array_equal(preprocess_labels(store(labels, axes), its_record), there)
    mask = Volume(restored(its_record, there), other.affine)
    expected = store(Volume(restored(record, there), image.affine), axes)
    np.testing.assert_array_equal(mask.data, expected.data)


def test_a_query_is_oriented_like_its_support():
    image, labels = make_phantom(spacing=(6.0, 1.2, 1.2))
    rules = Preprocessing(size=128, spacing_mm=1.2, **KEEP)
    support, _ = preprocess(image, rules)
    flipped = np.diag([1.0, -1.0, 1.0, 1.0]) @ support.affine  # front and back exchanged
    query, record = preprocess(image, rules, like=flipped)
    assert (np.sum(query.affine[:3, :3] * flipped[:3, :3], axis=0) > 0).all()
    np.testing.assert_array_equal(query.image, support.image[:, ::-1])
    back = restored(record, preprocess_labels(labels, record))
    np.testing.assert_array_equal(back, labels.data)


def test_record_survives_json():
    image, labels = make_phantom()
    _, record = preprocess(image, Preprocessing.for_mr(size=96, spacing_mm=1.4))
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    np.testing.assert_array_equal(
        preprocess_labels(labels, again), preprocess_labels(labels, record)
    )


def test_mr_intensities():
    image, _ = make_phantom()
    prepared, record = preprocess(image, Preprocessing.for_mr(size=128))
    top = np.percentile(image.data, 99.5)
    plain, _ = preprocess(
        Volume(np.minimum(image.data, top), image.affine), Preprocessing(size=128, **KEEP)
    )
    raw = plain.image.astype(np.float64)
    np.testing.assert_allclose(prepared.image, (raw - raw.mean()) / raw.std(), atol=1e-4)
    assert (record.mean, record.std) == pytest.approx((raw.mean(), raw.std()), rel=1e-5)
    np.testing.assert_allclose(record.denormalise(prepared.image), raw, atol=1e-2)


def test_ct_intensities():
    data = np.linspace(-1000, 1500, 4 * 64 * 64).reshape(4, 64, 64).astype(np.int16)
    image = Volume(data, np.diag([5.0, 0.8, 0.8, 1.0]))
    rules = Preprocessing.for_ct(size=64, mean=20.0, std=50.0)
    prepared, record = preprocess(image, rules)
    expected = (np.clip(data.astype(np.float64), -125, 275) - 20) / 50
    oriented = record.restore_probability(prepared.image)
    np.testing.assert_allclose(oriented, expected, atol=1e-5)


def test_what_cannot_be_prepared_is_refused():
    image, labels = make_phantom((5, 30, 20))
    with pytest.raises(VolumeError, match="every prepared voxel is -125"):
        preprocess(Volume(image.data - 5000, image.affine), Preprocessing.for_ct())
    _, record = preprocess(image, Preprocessing.for_mr())
    with pytest.raises(VolumeError, match="0 to 255"):
        preprocess_labels(Volume(labels.data.astype(np.int32) * 200, image.affine), record)
    with pytest.raises(VolumeError, match="voxels and its image"):
        preprocess_labels(Volume(labels.data[1:], image.affine), record)
    with pytest.raises(ValueError, match="prepared image of"):
        restored(record, labels.data)
    for wrong in ({"size": 0}, {"spacing_mm": -1.0}, {"mean": 1.0}, {"std": 1.0}):
        with pytest.raises(ValueError, match=r"above 0|together"):
            Preprocessing(**wrong)


def test_golden_crop_of_the_resampled_scan(golden):
    """The lineage's steps in one; only where its resampling ran off the scan it has 0, not ours."""
    arrays = golden("pipeline")
    x, y, z = arrays["resample.spacing_in"]
    affine = np.array([[0, 0, -x, 0], [0, -y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    rules = Preprocessing(size=24, spacing_mm=1.25, slice_spacing_mm=7.7, overflow="crop", **KEEP)
    prepared, _ = preprocess(Volume(arrays["resample.in"], affine), rules)
    assert prepared.image.shape == arrays["crop.24"].shape
    on_scan = np.ones(prepared.image.shape, dtype=bool)
    on_scan[np.arange(9) * 7.7 / 9 > 6.5] = False
    on_scan[:, (np.arange(24) + 1) * 1.25 / 1.6 > 19.5] = False
    np.testing.assert_allclose(prepared.image[on_scan], arrays["crop.24"][on_scan], atol=1e-6)
    assert (prepared.image[~on_scan] == arrays["resample.in"].min()).all()


def test_real_scan_from_file_to_file(real_scans, tmp_path):
    """CHAOS is already at 1.25 mm and 256 × 256: labels pass through without a change."""
    folder = real_scans("chaos_t2spir")
    scan, truth = (read_volume(folder / f"{kind}_01.nii.gz") for kind in ("image", "label"))
    prepared, record = preprocess(scan, Preprocessing.for_mr(spacing_mm=1.25))
    assert prepared.image.shape[1:] == (256, 256)
    assert prepared.spacing == pytest.approx((7.7, 1.25, 1.25), rel=1e-3)
    assert prepared.image.mean() == pytest.approx(0, abs=1e-5)
    there = preprocess_labels(truth.volume, record)
    liver = centroid(there == 1, prepared.affine)
    np.testing.assert_allclose(liver, centroid(truth.volume.data == 1, truth.volume.affine))
    write_mask(restored(record, there), tmp_path / "m.nii.gz", record.grid)
    written, source = nib.load(tmp_path / "m.nii.gz"), nib.load(folder / "label_01.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj))
    np.testing.assert_array_equal(written.affine, nib.load(folder / "image_01.nii.gz").affine)
    # Radiological display: the liver lies left in the picture, which is the patient's right.
    assert np.argwhere(there == 1)[:, 2].mean() < 128 < np.argwhere(there == 4)[:, 2].mean()


def test_the_likeliest_label_of_every_voxel_is_restored():
    rng = np.random.default_rng(0)
    scan = Volume(rng.normal(size=(5, 40, 30)).astype(np.float32), np.diag([-3.0, 1.5, 1.5, 1.0]))
    _, record = preprocess(scan, Preprocessing.for_mr(size=32))
    whole = np.zeros((4, *record.shape), np.float32)
    whole[0] = 0.5  # a tie with the background is background
    for n, box in enumerate(([0, 3, 4, 14], [2, 5, 9, 30], [0, 1, 0, 32]), start=1):
        whole[n, box[0] : box[1], box[2] : box[3], 6:20] = rng.random() / 2 + 0.5
        whole[n] += rng.random(record.shape).astype(np.float32) * 0.3
    maps = {2 * n: np.minimum(each, 1) for n, each in enumerate(whole)}
    maps[0] = np.full_like(whole[0], 0.5)
    on_grid = np.stack([record.restore_probability(maps[v]) for v in (0, 2, 4, 6)])
    expected = np.where(on_grid.max(0) > 0.5, np.array([0, 2, 4, 6])[on_grid.argmax(0)], 0)
    assert set(np.unique(expected)) == {0, 2, 4, 6}
    found = record.restore_labels({v: maps[v] for v in (2, 4, 6)})
    np.testing.assert_array_equal(found, expected)
