"""Dispatch on the suffix, and the checks of intensities and masks."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.io import WRITABLE, read_volume, stem
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.scan_file import SourceGrid
from dpcenet.volumes.write_masks import write_mask
from phantoms import STORED_48, make_phantom, store


@pytest.mark.parametrize("suffix", WRITABLE)
def test_masks_come_back_in_every_format(tmp_path, suffix):
    _, labels = make_phantom((5, 30, 20))
    path = tmp_path / f"case{suffix}"
    write_mask(labels.data, path, SourceGrid.of(labels))
    volume = read_volume(path).volume
    assert volume.data.dtype == np.uint8
    np.testing.assert_array_equal(volume.data, labels.data)
    np.testing.assert_allclose(volume.affine, labels.affine, atol=1e-4)


def test_suffixes():
    assert stem(Path("x/case.1.nii.gz")) == "case.1"
    assert stem(Path("CASE.NII.GZ")) == "CASE"
    assert stem(Path("a.mha")) == "a"
    assert stem(Path("notes.txt")) == "notes.txt"


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.bmp").write_bytes(b"x")
    with pytest.raises(VolumeError, match=r"'\.bmp' is unknown"):
        read_volume(tmp_path / "a.bmp")
    _, labels = make_phantom((5, 30, 20))
    for name in ("b.bmp", "b.mgz", "b.png", "b"):  # some are read and not written
        with pytest.raises(VolumeError, match=rf"no mask is written as '{Path(name).suffix}'"):
            write_mask(labels.data, tmp_path / name, SourceGrid.of(labels))


def test_large_labels_take_16_bits(tmp_path):
    _, labels = make_phantom((5, 30, 20))
    grid = SourceGrid.of(labels)
    write_mask(labels.data.astype(np.int64) * 200, tmp_path / "m.nii", grid)
    assert nib.load(tmp_path / "m.nii").get_data_dtype() == np.uint16
    with pytest.raises(VolumeError, match="0 to 65535"):
        write_mask(labels.data.astype(np.int64) * 40_000, tmp_path / "n.nii", grid)
    with pytest.raises(VolumeError, match="the mask is"):
        write_mask(labels.data[1:], tmp_path / "n.nii", grid)
    assert not (tmp_path / "n.nii").exists()


def test_intensities():
    image, _ = make_phantom((5, 30, 20))
    check_intensities(image, "scan")
    check_intensities(Volume(image.data.astype(np.int16), image.affine), "scan")
    bad = image.data.copy()
    bad[2, 7, 11], bad[3, 0, 0] = np.nan, np.inf
    with pytest.raises(VolumeError, match=r"2 NaN or infinite voxels, .*z=2, y=7, x=11"):
        check_intensities(Volume(bad, image.affine), "scan")
    with pytest.raises(VolumeError, match=r"every voxel is 7\.0"):
        check_intensities(Volume(np.full((2, 3, 4), 7.0), image.affine), "scan")


@pytest.mark.parametrize("axes", STORED_48[::7])
def test_a_mask_in_another_order_comes_in_the_images(axes):
    image, labels = make_phantom((5, 30, 20))
    found = check_mask(store(labels, axes), image, "mask")
    np.testing.assert_array_equal(found, labels.data)


def test_a_mask_may_be_floating_and_a_little_off():
    image, labels = make_phantom((5, 30, 20))
    shifted = labels.affine.copy()
    shifted[0, 3] += 0.05
    check_mask(Volume(labels.data.astype(np.float32), shifted), image, "mask")


def test_bad_masks_are_refused_with_the_reason():
    image, labels = make_phantom((5, 30, 20))

    def refused(data, found, shift=0.0):
        affine = labels.affine.copy()
        affine[1, 3] += shift
        with pytest.raises(VolumeError, match=found) as error:
            check_mask(Volume(data, affine), image, "mask.nii")
        assert str(error.value).startswith("mask.nii: ")

    refused(labels.data, r"lies up to 3\.5 mm away", shift=3.5)
    refused(labels.data[:-1], r"\(4, 30, 20\) voxels and its image \(5, 30, 20\)")
    refused(labels.data * 0.5, "no whole numbers")
    refused(np.where(labels.data, np.nan, 0), "no whole numbers")
    refused(labels.data * 0, "empty")
    refused(-labels.data.astype(np.int16), "smallest value is -2")


def test_a_mask_elsewhere_because_of_the_scans_own_header(tmp_path):
    """ITK and nibabel see such a scan in two places, so its mask seems to lie elsewhere."""
    image, labels = make_phantom((5, 30, 20))
    plain = nib.Nifti1Image(image.data.T, None)
    plain.header.set_zooms((1.3, 1.1, 6.0))
    plain.to_filename(tmp_path / "silent.nii")
    moved = nib.Nifti1Image(image.data.T, image.affine[:, [2, 1, 0, 3]])
    turned = image.affine[:, [2, 1, 0, 3]].copy()
    turned[:3, 3] += 33
    moved.header.set_qform(turned, 1)
    moved.to_filename(tmp_path / "two.nii")
    mask = Volume(labels.data, labels.affine.copy())
    mask.affine[:3, 3] += 57.2
    for name, reason in (
        ("silent.nii", "does not say where the scan lies"),
        ("two.nii", r"sform and qform of the scan's header lie 57\.2 mm apart"),
    ):
        scan = read_volume(tmp_path / name)
        with pytest.raises(VolumeError, match=f"away from its image; .*{reason}.*doctor"):
            check_mask(mask, scan.volume, "m.nii", scan.grid)
    with pytest.raises(VolumeError, match=r"away from its image; expected"):
        check_mask(mask, image, "m.nii", SourceGrid.of(image))
