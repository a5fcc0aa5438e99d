"""Segmenting files: masks lie where the organ is, in the query's own geometry."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from dpcenet.data.phantom.phantom import phantom, write_phantoms
from dpcenet.errors import ConfigError, VolumeError
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.copy import Copy, Options
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing
from made import moved
from made_scans import segment_files

SHAPE, SPACING = (10, 72, 72), (9.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """`copy` segments a scan perfectly from itself: any loss is one of geometry."""
    rules = Preprocessing.for_mr(size=96)
    return Segmenter(Predictor(Copy(Options()).eval()), rules)


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5, 1e300])
def test_a_mask_with_values_that_are_no_labels_is_refused_before_they_are_counted(
    segmenter: Segmenter, value: float
) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    data = labels.data.astype(np.float64)
    data[0, 0, 0] = value
    with pytest.raises(VolumeError, match="whole numbers"):
        segmenter.support(image, Volume(data, labels.affine))


@pytest.mark.parametrize(
    ("permutation", "flips"),
    [
        ((0, 1, 2), (False, False, False)),
        ((2, 1, 0), (True, False, True)),
        ((1, 2, 0), (False, True, True)),
        ((2, 0, 1), (True, True, False)),
    ],
)
def test_a_query_stored_in_another_order_gets_the_same_mask_in_millimetres(
    segmenter: Segmenter, permutation: tuple[int, int, int], flips: tuple[bool, ...]
) -> None:
    image, labels = phantom(1, SHAPE, SPACING, oblique=True)
    support = segmenter.support(image, labels)
    plain = segmenter.segment(image, support)
    for value in (1, 2, 3, 4):
        assert dice(plain.data == value, labels.data == value) > 0.9
    stored = moved(image, permutation, flips)
    mask = segmenter.segment(stored, support)
    assert mask.data.shape == stored.data.shape
    assert np.array_equal(mask.affine, stored.affine)
    assert np.array_equal(mask.data, moved(plain, permutation, flips).data)


def test_another_resolution_and_position_gets_the_organ_at_its_place(segmenter: Segmenter) -> None:
    image, labels = phantom(2, SHAPE, SPACING, oblique=False)
    finer = ndimage.zoom(
        image.data.astype(np.float32), (1, 1.5, 1.5), order=1, mode="nearest", grid_mode=True
    )
    # grid_mode keeps the field of view: the first voxel's centre moves by half the difference.
    scale = np.diag([1, 72 / finer.shape[1], 72 / finer.shape[2], 1.0])
    scale[1:3, 3] = (72 / finer.shape[1] - 1) / 2
    query = Volume(finer, image.affine @ scale)
    mask = segmenter.segment(query, segmenter.support(image, labels))
    for value in (1, 4):
        centres = []
        for volume in (labels, mask):
            index = np.argwhere(volume.data == value).mean(axis=0)
            centres.append((volume.affine @ [*index, 1])[:3])
        assert np.linalg.norm(centres[0] - centres[1]) < 4.0


def test_files_come_out_in_their_own_format_and_geometry(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    ((image, label), *_) = write_phantoms(tmp_path / "scans", 2, shape=SHAPE, spacing=SPACING)
    nrrd = tmp_path / "scans" / "other.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(image)), str(nrrd))
    damaged = tmp_path / "scans" / "damaged.nii.gz"
    damaged.write_bytes(image.read_bytes()[:2000])
    support = segmenter.support(image, label, labels=[1, 3])
    queries = find_queries([image, damaged, nrrd])
    outcomes = segment_files(segmenter, queries, support, SegmentOptions(tmp_path / "out"))
    assert [outcome.mask is not None for outcome in outcomes] == [True, False, True]
    assert "damaged.nii.gz" in outcomes[1].error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "image_01_seg.nii.gz",
        "image_01_seg.nii.gz.json",
        "other_seg.nrrd",
        "other_seg.nrrd.json",
        "segment.json",
    ]
    source, mask = nibabel.load(image), nibabel.load(outcomes[0].mask)
    assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(mask.dataobj)) == {0, 1, 3}
    theirs, ours = sitk.ReadImage(str(nrrd)), sitk.ReadImage(str(outcomes[2].mask))
    assert ours.GetSize() == theirs.GetSize()
    np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-12)
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), rtol=1e-12)
    one, two = np.asarray(mask.dataobj).T, sitk.GetArrayFromImage(ours)
    assert np.array_equal(one, two)


def test_a_label_that_the_mask_lacks_is_named(segmenter: Segmenter) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    with pytest.raises(ConfigError, match=r"--label 9: .* only \[1, 2, 3, 4\]"):
        segmenter.support(image, labels, labels=[9])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: np.full_like(d, np.nan), "NaN"),
        (lambda d: np.full_like(d, 7), "every voxel is 7"),
    ],
)
def test_unusable_voxels_are_refused(segmenter: Segmenter, spoil: object, message: str) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    support = segmenter.support(image, labels)
    data = spoil(image.data.astype(np.float32))  # type: ignore[operator]
    with pytest.raises(VolumeError, match=message):
        segmenter.segment(Volume(data, image.affine), support)


def test_a_mask_of_another_size_or_without_labels_is_refused(segmenter: Segmenter) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    with pytest.raises(VolumeError):
        segmenter.support(image, Volume(labels.data[:-1], labels.affine))
    with pytest.raises(VolumeError, match="empty"):
        segmenter.support(image, Volume(np.zeros_like(labels.data), labels.affine))


def test_a_single_slice_finds_its_place() -> None:
    """A scan of one slice has no mean of its own to be seen from."""
    network = Segmenter.shipped("cpu", "mr", "float32")
    image, labels = phantom(1, SHAPE, SPACING)
    support = network.support(image, labels)
    for z in np.flatnonzero(labels.data.any(axis=(1, 2)))[1:-1]:
        affine = image.affine.copy()
        affine[:3, 3] += z * affine[:3, 0]
        one = Volume(image.data[z : z + 1], affine)
        found = network.find(one, support)
        assert abs(int(found.matches[0][0]) - z) <= 1
        assert dice(found.mask.data > 0, labels.data[z : z + 1] > 0) > 0.5


def test_the_precision_can_be_forced() -> None:
    for precision in ("float32", "bfloat16"):
        assert Segmenter.shipped("cpu", precision=precision).predictor.precision == precision
