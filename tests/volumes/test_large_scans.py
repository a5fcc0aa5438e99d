"""What is read, prepared, restored and written block by block is what it is as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dpcenet.data.phantom.phantom import phantom
from dpcenet.system import large_arrays
from dpcenet.types import Volume
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels
from dpcenet.volumes.scan_file import ScanFile, SourceGrid
from dpcenet.volumes.statistics import measure_labels
from dpcenet.volumes.write_masks import write_mask

RULES = {
    "mr": Preprocessing.for_mr(size=32),
    "mr, own spacing": Preprocessing.for_mr(size=64, spacing_mm=2.0, slice_spacing_mm=4.0),
    "ct": Preprocessing.for_ct(size=40, spacing_mm=3.0),
    "cut": Preprocessing.for_ct(size=16, spacing_mm=3.0, overflow="crop"),
}


def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every array is large, and looked at in blocks of a few slices."""
    monkeypatch.setattr(large_arrays, "LARGE", 500)
    monkeypatch.setattr(large_arrays, "BLOCK", 10_000)


def made() -> tuple[Volume, Volume]:
    """A scan of 12 slices that is stored in another order than it is shown, and its labels."""
    image, labels = phantom(3, (12, 48, 40), (6.0, 3.0, 3.0))
    affine = image.affine[:, [2, 0, 1, 3]]
    data = np.round(image.data * 10).astype(np.int16) - 900
    return (
        Volume(data.transpose(2, 0, 1), affine),
        Volume(labels.data.transpose(2, 0, 1), affine),
    )


@pytest.mark.parametrize("name", RULES)
def test_preparing_and_going_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = made()

    def way() -> list[np.ndarray]:
        check_intensities(image, "made")
        prepared, record = preprocess(ScanFile(image, SourceGrid.of(image)), RULES[name])
        there = preprocess_labels(labels, record)
        probability = {v: (there == v).astype(np.float32) * 0.8 for v in (1, 2, 3)}
        back = record.restore_labels(probability)
        return [
            prepared.image,
            there,
            back,
            record.restore_probability(probability[1]),
            check_mask(labels, image, "labels"),
        ]

    whole = way()
    in_blocks(monkeypatch)
    for one, other in zip(whole, way(), strict=True):
        assert one.dtype == other.dtype
        if one.dtype == np.float32:  # the mean of blocks is rounded otherwise
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".img"])
@pytest.mark.parametrize("kind", ["<i2", ">i2", "<f4", "<u1"])
def test_reading(suffix: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).integers(0, 200, (9, 20, 16)).astype(kind)
    path = tmp_path / f"a{suffix}"
    if suffix in (".mha", ".nrrd"):
        native = data.astype(data.dtype.newbyteorder("="))
        sitk.WriteImage(sitk.GetImageFromArray(native), str(path), useCompression=True)
    else:
        import nibabel

        pair = nibabel.Nifti1Pair if suffix == ".img" else nibabel.Nifti1Image
        image = pair(data.T, np.diag([1.0, 2.0, 3.0, 1.0]))
        image.header.set_data_dtype(kind)
        if kind == "<i2":
            image.header.set_slope_inter(2.0, -10.0)
        nibabel.save(image, path)
    whole = read_volume(path).volume.data
    in_blocks(monkeypatch)
    again = read_volume(path).volume.data
    assert whole.dtype == again.dtype and np.array_equal(whole, again)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_writing_gives_the_same_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, labels = made()
    grid = SourceGrid.of(labels)
    write_mask(labels.data, tmp_path / "whole" / name, grid)
    in_blocks(monkeypatch)
    write_mask(labels.data.astype(np.int32), tmp_path / "blocks" / name, grid)
    one, other = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "blocks"))
    assert one == other
    values = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    write_nifti(values, tmp_path / "values.nii.gz", grid)
    assert np.array_equal(read_volume(tmp_path / "values.nii.gz").volume.data, values)


def test_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = made()
    whole = measure_labels(image.data, labels.data, image.affine)
    in_blocks(monkeypatch)
    assert measure_labels(image.data, labels.data, image.affine) == whole
