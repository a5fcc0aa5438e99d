"""Padding is left out before intensities are judged; nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.intensities import find_padding
from dpcenet.volumes.modality import choose_modality, doubts_of
from dpcenet.volumes.preprocess import Preprocessing, preprocess
from dpcenet.volumes.scan_file import Facts, ScanFile, SourceGrid
from phantoms import STORED_48, make_phantom, store

SHAPE = (8, 60, 50)


def scan_of(volume, **facts):
    return ScanFile(volume, SourceGrid.of(volume), facts=Facts(**facts))


def mr():
    """Whole numbers from 0 up, with a rim of zeros as background."""
    image, _ = make_phantom(SHAPE)
    data = (image.data - image.data.min()).round().astype(np.int16)
    data[:, :6] = data[:, -6:] = 0
    data[:, :, :5] = data[:, :, -5:] = 0
    return Volume(data, image.affine)


def ct():
    """Air at -1000 with noise, fat, soft tissue."""
    random = np.random.default_rng(0)
    _, labels = make_phantom(SHAPE)
    level = np.array([-1000, -90, 50])[labels.data]
    return Volume((level + random.normal(0, 12, SHAPE)).astype(np.int16), labels.affine)


def padded(volume, value, rim=3):
    data = volume.data.astype(np.int32)
    data[:, :rim] = data[:, -rim:] = value
    data[:, :, :rim] = data[:, :, -rim:] = value
    return Volume(data, volume.affine)


@pytest.mark.parametrize("value", [-1000, -1024, -2000, -3024, -32768, -5000])
@pytest.mark.parametrize("axes", STORED_48[::11])
def test_a_padded_mr_is_prepared_as_if_it_were_not(value, axes):
    plain, with_rim = store(mr(), axes), store(padded(mr(), value), axes)
    found = find_padding(with_rim)
    assert found is not None and found.low == value and found.high < 0
    assert choose_modality(scan_of(with_rim)).modality == "mr"
    one, record = preprocess(plain, Preprocessing.for_mr(size=64))
    other, same = preprocess(with_rim, Preprocessing.for_mr(size=64))
    np.testing.assert_array_equal(one.image, other.image)
    assert (record.clip, record.mean, record.std) == (same.clip, same.mean, same.std)


def test_padding_blurred_by_resampling():
    rim = padded(mr(), -1024).data
    blurred = rim.copy()
    blurred[:, 3, 10:14] = -600
    found = find_padding(Volume(blurred, mr().affine))
    assert found is not None and found.low == -1024 and -600 < found.high < 0


@pytest.mark.parametrize("scan", [mr(), ct(), make_phantom(SHAPE)[0]], ids=["mr", "ct", "floating"])
def test_a_scan_without_padding_keeps_every_bit(scan):
    """The rules written out again without padding."""
    assert find_padding(scan) is None
    prepared, record = preprocess(scan, Preprocessing(size=64, clip_percentile=99.5))
    bounded = np.minimum(scan.data.astype(np.float32), np.float32(np.percentile(scan.data, 99.5)))
    assert record.clip == (None, float(np.percentile(scan.data, 99.5)))
    if record.step == (1.0, 1.0, 1.0):
        assert prepared.image.max() == np.float32((bounded.max() - record.mean) / record.std)


@pytest.mark.parametrize("value", [-1024, -2000, -3024])
def test_a_ct_with_a_round_field_of_view(value):
    rim = padded(ct(), value, rim=10)
    assert choose_modality(scan_of(rim)).modality == "ct"
    plain, _ = preprocess(padded(ct(), -1000, rim=10), Preprocessing.for_ct(size=64))
    prepared, _ = preprocess(rim, Preprocessing.for_ct(size=64))
    np.testing.assert_array_equal(plain.image, prepared.image)


@pytest.mark.parametrize("outside", [-1024, 0, -1000])
def test_a_ct_cut_out_along_the_skin_is_a_ct(outside):
    data = np.where(make_phantom(SHAPE)[1].data > 0, ct().data, outside)
    scan = scan_of(Volume(data, ct().affine))
    assert choose_modality(scan).modality == "ct"
    prepared, record = preprocess(scan, Preprocessing.for_ct(size=64))
    air = float((-125 - record.mean) / record.std)
    assert prepared.image[0, 0, 0] == pytest.approx(air, abs=1e-5)


def test_one_value_all_around_that_occurs_in_the_body_too():
    scan = mr()
    data = scan.data.astype(np.float32) - 150
    data[:, :6] = data[:, -6:] = data[:, :, :5] = data[:, :, -5:] = 0
    data[4, 30, 25] = 0  # in the body, so no padding
    found = find_padding(Volume(data, scan.affine))
    assert found is not None and found.border and (found.low, found.high) == (0, 0)
    prepared, record = preprocess(Volume(data, scan.affine), Preprocessing(size=64))
    back = record.denormalise(prepared.image)
    assert back.min() == pytest.approx(data.min(), abs=1e-3)
    assert (np.abs(back) < 1e-3).sum() < 10  # only the voxel in the body


def test_a_value_that_dicom_declares():
    data = mr().data.copy()
    data[:, :4, :30] = 4095
    high = Volume(data, mr().affine)
    assert find_padding(high) is None  # bright voxels say nothing by themselves
    found = find_padding(high, (4095.0, 4095.0))
    assert found is not None and (found.low, found.high) == (4095, 4095)
    one, _ = preprocess(mr(), Preprocessing.for_mr(size=64))
    other, _ = preprocess(scan_of(high, padding=(4095.0, 4095.0)), Preprocessing.for_mr(size=64))
    np.testing.assert_array_equal(one.image, other.image)
    assert find_padding(mr(), (0.0, 0.0)) is None  # its own minimum: left out or not, the same
    assert find_padding(mr(), (-7.0, -7.0)) is None  # declared, and nowhere


def test_dicom_decides_what_is_a_ct():
    assert choose_modality(scan_of(ct(), modality="MR")).modality == "mr"
    assert choose_modality(scan_of(mr(), modality="CT")).modality == "ct"
    assert choose_modality(scan_of(ct(), modality="PT")).modality == "mr"
    assert "says MR" in choose_modality(scan_of(ct(), modality="MR")).why


def test_a_signed_mr_is_no_ct():
    """Normalised to mean 0: below 0, but no whole numbers."""
    image, _ = make_phantom(SHAPE)
    data = 100 * (image.data - image.data.mean()) / image.data.std()
    assert choose_modality(scan_of(Volume(data, image.affine))).modality == "mr"


def test_doubts_in_words():
    shifted = Volume((ct().data + 1024).astype(np.uint16), ct().affine)
    words = " ".join(doubts_of(scan_of(shifted), "ct"))
    assert "looks like MR" in words and "not in Hounsfield units" in words
    assert doubts_of(scan_of(ct()), "ct") == () and doubts_of(scan_of(mr()), "mr") == ()
    assert "padding of -2000" in doubts_of(scan_of(padded(ct(), -2000)), "ct")[0]
    assert "looks like CT" in doubts_of(scan_of(ct()), "mr")[0]


@pytest.mark.parametrize(
    ("shape", "spacing"), [((40_000, 2, 2), (1, 1, 1)), ((3, 20, 20), (9e5, 1, 1))]
)
def test_what_would_take_gigabytes_is_refused_before(shape, spacing):
    data = np.random.default_rng(0).integers(0, 99, shape, dtype=np.int16)
    affine = mr().affine.copy()
    affine[:3, :3] *= np.array(spacing) / np.linalg.norm(affine[:3, :3], axis=0)
    scan = Volume(data, affine)
    with pytest.raises(VolumeError, match="bytes; expected at most"):
        preprocess(scan, Preprocessing(slice_spacing_mm=1.0))
