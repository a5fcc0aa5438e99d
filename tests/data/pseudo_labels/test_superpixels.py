import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dpcenet.data.pseudo_labels.superpixels import superpixels
from dpcenet.errors import VolumeError


def phantom(seed=0):
    """Blobs in a body of 100…400 in air of 0; (3, 48, 60) float32."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(3, 48, 60)), (0, 4, 4))
    image = np.zeros((3, 48, 60), np.float32)
    inside = (slice(None), slice(5, 44), slice(7, 55))
    image[inside] = 100 + 300 * (blobs[inside] - blobs.min()) / np.ptp(blobs)
    return image


def same_partition(a, b):
    pairs = len(np.unique(np.stack([a, b]), axis=1).T)
    return pairs == len(np.unique(a)) == len(np.unique(b))


def test_superpixels_are_the_official_ones(golden):
    numbers = golden("pipeline")
    image, raw = numbers["sp2d.in"].astype(np.float32), numbers["sp2d.raw"]
    (ids,) = superpixels(image[None], "mr", threshold=50.0)
    body, official = ids > 0, numbers["sp2d.masked"]
    assert same_partition(ids[body], raw[body])  # the official raw segments, cut by the body
    kept = official > 0
    assert same_partition(ids[kept], official[kept])
    assert body[kept].all()
    assert np.all(raw[body & ~kept] == 0)  # the segment that the official renumbering loses


def test_without_a_mask_the_segments_are_the_official_ones(golden):
    numbers = golden("pipeline")
    (ids,) = superpixels(numbers["sp2d.in"].astype(np.float32)[None], "mr", threshold=-1.0)
    np.testing.assert_array_equal(ids - 1, numbers["sp2d.raw"])


@pytest.mark.parametrize("modality", ["mr", "ct"])
def test_ids_are_contiguous_in_each_slice(modality):
    image = phantom()
    ids = superpixels(image, modality, min_size=80)
    assert ids.dtype == np.int32
    for plane in ids:
        assert plane.max() > 3
        np.testing.assert_array_equal(np.unique(plane), np.arange(plane.max() + 1))
    np.testing.assert_array_equal(ids > 0, image > 0)


def test_slices_do_not_know_each_other():
    image = phantom()
    together = superpixels(image, "mr", min_size=80, threshold=50.0)
    for index in range(len(image)):
        alone = superpixels(image[index : index + 1], "mr", min_size=80, threshold=50.0)
        np.testing.assert_array_equal(together[index], alone[0])


def test_default_body_does_not_depend_on_the_unit():
    image = phantom()
    image[:, 0, :] = 8  # noise in the air: 5 of 255
    expected = superpixels(image, "mr", min_size=80) > 0
    assert not expected[:, 0, :].any()
    for unit in (0.01, 16.0):
        np.testing.assert_array_equal(superpixels(image * unit, "mr", min_size=80) > 0, expected)


def test_modality_chooses_the_threshold():
    image = phantom()
    image[:, 5:44, 7] = 4  # 2.5 of 255: fat in CT, air in MR
    assert superpixels(image, "ct", min_size=80)[:, 5:44, 7].all()
    assert not superpixels(image, "mr", min_size=80)[:, 5:44, 7].any()


def test_min_size_and_sigma_reach_the_segmentation():
    image = phantom()
    image += np.random.default_rng(3).normal(0, 5, image.shape).astype(np.float32)
    few = superpixels(image, "mr", min_size=400)
    many = superpixels(image, "mr", min_size=40)
    assert many.max() > 2 * few.max()
    rough = superpixels(image, "mr", min_size=1, scale=5e4, sigma=0.1)
    smooth = superpixels(image, "mr", min_size=1, scale=5e4, sigma=2.0)
    assert smooth.max() < rough.max()


def test_nan_is_refused():
    image = phantom()
    image[1, 2, 3] = np.nan
    with pytest.raises(VolumeError):
        superpixels(image, "mr", threshold=50.0)


def test_default_body_holds_the_organs_of_a_real_scan(real_scans):
    folder = real_scans("chaos_t2spir")
    scan = nib.load(folder / "image_20.nii.gz").get_fdata(dtype=np.float32).T[8:16]
    organs = np.asarray(nib.load(folder / "label_20.nii.gz").dataobj).T[8:16] > 0
    ids = superpixels(scan, "mr")
    assert organs.any()
    assert (ids[organs] > 0).all()
    assert 10 <= np.median(ids.max(axis=(1, 2))) <= 50
