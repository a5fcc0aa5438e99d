"""A partly drawn mask is completed in the scan's own grid, and what was drawn stays."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError, VolumeError
from dpcenet.segmentation.complete_scan import complete_file
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import read_json
from dpcenet.types import Volume
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_files import OrganMasks
from made import moved

SHAPE, SPACING = (12, 72, 72), (9.0, 4.0, 4.0)


def save(volume: Volume, path: Path) -> Path:
    """A NIfTI of the volume: its axes are (x, y, z)."""
    data = np.asarray(volume.data).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(data, volume.affine[:, [2, 1, 0, 3]]), path)
    return path


def thinned(labels: Volume, axis: int, step: int) -> Volume:
    """The labels on every so many slices, and on the last of each label."""
    data = np.asarray(labels.data, np.uint8).copy()
    others = tuple(i for i in range(3) if i != axis)
    for value in np.unique(data)[1:]:
        shown = np.flatnonzero((data == value).any(axis=others))
        kept = {*shown[::step].tolist(), int(shown[-1])}
        gone = np.ones(data.shape[axis], bool)
        gone[list(kept)] = False
        index = [slice(None)] * 3
        index[axis] = gone  # type: ignore[call-overload]
        plane = data[tuple(index)]
        plane[plane == value] = 0
        data[tuple(index)] = plane
    return Volume(data, labels.affine)


@pytest.mark.parametrize(("permutation", "axis"), [((0, 1, 2), 0), ((2, 1, 0), 2)])
def test_every_third_slice_is_completed_in_any_array_order(
    copier: Segmenter, tmp_path: Path, permutation: tuple[int, int, int], axis: int
) -> None:
    flips = (axis == 2, False, True)
    image, labels = (moved(v, permutation, flips) for v in phantom(1, SHAPE, SPACING))
    drawn = thinned(labels, axis, 3)
    scan, mask = save(image, tmp_path / "scan.nii.gz"), save(drawn, tmp_path / "drawn.nii.gz")
    done = complete_file(copier, scan, mask, tmp_path / "full.nii.gz")
    assert done.axis == axis
    written = nibabel.load(tmp_path / "full.nii.gz")
    full = np.asanyarray(written.dataobj).transpose(2, 1, 0)
    was = np.asarray(drawn.data)
    assert (full[was > 0] == was[was > 0]).all()
    truth = np.asarray(labels.data)
    for value in (1, 2, 3, 4):
        before, after = (
            2
            * ((each == value) & (truth == value)).sum()
            / ((each == value).sum() + (truth == value).sum())
            for each in (was, full)
        )
        assert after > before + 0.1 and after > 0.8
    record = read_json(tmp_path / "full.nii.gz.json")
    assert record["labels"]["1"]["drawn"] == done.drawn[1]
    assert record["labels"]["1"]["filled"] == done.filled[1] and done.filled[1]
    assert not set(done.drawn[1]) & set(done.filled[1])


def test_a_file_for_each_organ_is_completed_with_its_name(
    copier: Segmenter, tmp_path: Path
) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    drawn = thinned(labels, 0, 3)
    scan = save(image, tmp_path / "scan.nii.gz")
    files = tuple(
        save(Volume((drawn.data == value).astype(np.uint8), drawn.affine), tmp_path / name)
        for value, name in ((2, "kidney.nii.gz"), (1, "liver.nii.gz"))
    )
    masks = OrganMasks(files, ("", "Leber"))
    done = complete_file(copier, scan, masks, tmp_path / "full.nii.gz", form="seg.nrrd")
    assert done.path == tmp_path / "full.seg.nrrd" and done.filled[2] and not done.note
    written = read_volume(done.path)
    assert written.facts.labels.names == {1: "kidney", 2: "Leber"}
    assert (written.volume.data[np.asarray(drawn.data) == 1] == 2).all()
    no_series = complete_file(copier, scan, masks, tmp_path / "seg.dcm")
    assert no_series.path == tmp_path / "seg.nii.gz"
    assert no_series.note == "no DICOM SEG: the scan is no DICOM series"
    assert read_json(tmp_path / "seg.nii.gz.json")["drawn mask"] == "kidney.nii.gz liver.nii.gz"


def test_other_scans_are_segmented_from_the_filled_labels(copier: Segmenter) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    partly = copier.support(image, thinned(labels, 0, 3))
    whole = copier.support(image, labels)
    assert not whole.notes
    (note,) = partly.notes
    assert "not labelled" in note and "label 1 on" in note
    truth = np.asarray(whole.scans[0].label == 1)
    given = np.asarray(partly.scans[0].label == 1)
    assert (given.any((1, 2)) == truth.any((1, 2))).all()
    assert 2 * (given & truth).sum() / (given.sum() + truth.sum()) > 0.85


def test_a_file_that_is_not_ours_is_left_alone(copier: Segmenter, tmp_path: Path) -> None:
    image, labels = phantom(1, SHAPE, SPACING)
    scan, mask = save(image, tmp_path / "scan.nii.gz"), save(labels, tmp_path / "drawn.nii.gz")
    out = tmp_path / "full.nii.gz"
    complete_file(copier, scan, mask, out)
    complete_file(copier, scan, mask, out)  # our own may be made again
    out.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(ConfigError, match="is there already"):
        complete_file(copier, scan, mask, out)
    with pytest.raises(ConfigError, match="--label 9"):
        complete_file(copier, scan, mask, tmp_path / "other.nii.gz", labels=[9])


@pytest.mark.parametrize("name", ["full.mgz", "full.hdr", "full.zip", "full"])
def test_a_format_that_is_not_written_is_said_before_anything_is_read(
    copier: Segmenter, tmp_path: Path, name: str
) -> None:
    nowhere = tmp_path / "nowhere.nii.gz"
    with pytest.raises(VolumeError, match=r"no mask is written as .*expected \.nii\.gz"):
        complete_file(copier, nowhere, nowhere, tmp_path / name)
