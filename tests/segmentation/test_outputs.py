"""Files of a query, on its own grid; sizes of its labels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.segmentation.outputs import OutputOptions, statistics_of, write_outputs
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.scan_file import NO_LABELS, Code, Labels, ScanFile
from made_scans import quick_segmenter, write_scans

MADE_BY = Algorithm("0", "test")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanFile, SegmentationResult]:
    """A scan segmented from itself."""
    ((image, mask),) = write_scans(tmp_path_factory.mktemp("scans"), 1)
    segmenter = quick_segmenter()
    scan = read_volume(image)
    return scan, segmenter.find(scan, segmenter.support(image, mask, [1, 4]))


def test_only_what_is_asked_for_is_written(
    segmented: tuple[ScanFile, SegmentationResult], tmp_path: Path
) -> None:
    scan, result = segmented
    mask = tmp_path / "a_seg.nii.gz"
    assert write_outputs(result, scan, mask, "a", OutputOptions(), NO_LABELS, MADE_BY) == (
        [mask],
        "",
    )
    assert list(tmp_path.iterdir()) == [mask]
    written, note = write_outputs(
        result, scan, mask, "a", OutputOptions(True, True), NO_LABELS, MADE_BY
    )
    names = ["a_seg.nii.gz", "a_prob_1.nii.gz", "a_mesh_1.stl", "a_prob_4.nii.gz", "a_mesh_4.stl"]
    assert written == [tmp_path / name for name in names] and not note
    voxels = np.asarray(nibabel.load(mask).dataobj)
    probability = np.asarray(nibabel.load(tmp_path / "a_prob_4.nii.gz").dataobj)
    assert voxels.shape == probability.shape == scan.volume.data.T.shape
    assert probability[voxels == 4].min() > 0.5


def test_leftovers_of_a_killed_process_are_deleted(
    segmented: tuple[ScanFile, SegmentationResult], tmp_path: Path
) -> None:
    scan, result = segmented
    mine, other = tmp_path / ".partial-12345678a_seg.nii.gz", tmp_path / ".partial-12345678b.nii.gz"
    for path in (mine, other):
        path.write_bytes(b"half")
    write_outputs(result, scan, tmp_path / "a_seg.nii.gz", "a", OutputOptions(), NO_LABELS, MADE_BY)
    assert not mine.exists() and other.exists()


def test_statistics_of_what_was_asked_for(
    segmented: tuple[ScanFile, SegmentationResult],
) -> None:
    scan, result = segmented
    told = statistics_of(scan.volume, result.mask, [1, 4, 9])
    assert list(told) == ["1", "4", "9"] and told["9"] == {"ml": 0.0, "voxels": 0}
    inside = result.mask.data == 4
    assert told["4"]["voxels"] == int(inside.sum()) > 0
    assert told["4"]["ml"] == pytest.approx(inside.sum() * 11 * 6 * 6 / 1000)
    assert told["4"]["mean"] == pytest.approx(scan.volume.data[inside].mean(), abs=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_names_and_codes_reach_the_mask(
    segmented: tuple[ScanFile, SegmentationResult], tmp_path: Path, suffix: str
) -> None:
    scan, result = segmented
    code = Code("SCT", "10200004", "Liver")
    mask = tmp_path / f"a_seg{suffix}"
    write_outputs(
        result, scan, mask, "a", OutputOptions(), Labels({1: "Leber"}, {1: code}), MADE_BY
    )
    found = read_volume(mask).facts.labels
    assert found.names == {1: "Leber", 4: "label 4"} and found.codes == {1: code}
