"""Segmenting a folder: resumed, whole, and one bad file stops no other."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation import segment_queries
from dpcenet.segmentation.outputs import OutputOptions
from dpcenet.segmentation.postprocess import Consistency
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.volumes.io import read_volume
from made_scans import quick_segmenter, segment_files, write_scans

SEGMENTER = quick_segmenter()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_scans(tmp_path / "scans", 3)
    return tmp_path / "scans"


@pytest.fixture
def support(scans: Path) -> Support:
    return SEGMENTER.support(scans / "image_01.nii.gz", scans / "label_01.nii.gz")


def segment(scans: Path, support: Support, options: SegmentOptions) -> list[Outcome]:
    return segment_files(SEGMENTER, find_queries([scans]), support, options)


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("image_*_seg.nii.gz")}


def test_every_file_asked_for_is_there_and_in_the_record(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    segment(scans, support, SegmentOptions(out, OutputOptions(probability=True, mesh=True)))
    image = nibabel.load(scans / "image_02.nii.gz")
    mask = np.asarray(nibabel.load(out / "image_02_seg.nii.gz").dataobj)
    probability = nibabel.load(out / "image_02_prob_1.nii.gz")
    values = np.asarray(probability.dataobj)
    assert probability.get_data_dtype() == np.float32
    assert np.array_equal(probability.affine, image.affine)
    assert values.min() >= 0 and values.max() <= 1 and values[mask == 1].min() > 0.5
    record = json.loads((out / "image_02_seg.nii.gz.json").read_text())
    assert set(record["outputs"]) == {
        *("image_02_seg.nii.gz", *(f"image_02_prob_{v}.nii.gz" for v in (1, 2, 3, 4))),
        *(f"image_02_mesh_{v}.stl" for v in (1, 2, 3, 4)),
    }
    assert all((out / name).is_file() for name in record["outputs"])
    voxel_ml = abs(np.linalg.det(image.affine)) / 1000
    told = record["facts"]["labels"]["1"]
    assert told["voxels"] == (mask == 1).sum()
    assert told["ml"] == pytest.approx((mask == 1).sum() * voxel_ml, abs=1e-3)
    cases = json.loads((out / "segment.json").read_text())["cases"]
    assert [case["query"] for case in cases] == ["image_01", "image_02", "image_03"]


def test_what_is_finished_is_skipped_and_what_has_changed_is_done_again(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    options = SegmentOptions(tmp_path / "out")
    assert not any(outcome.skipped for outcome in segment(scans, support, options))
    before = stamps(options.out)
    assert all(outcome.skipped for outcome in segment(scans, support, options))
    assert stamps(options.out) == before

    image = nibabel.load(scans / "image_02.nii.gz")
    changed = nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine)
    nibabel.save(changed, scans / "image_02.nii.gz")
    (options.out / "image_03_seg.nii.gz").unlink()
    again = segment(scans, support, options)
    assert [outcome.skipped for outcome in again] == [True, False, False]

    few = support.only([1])
    assert not any(outcome.skipped for outcome in segment(scans, few, options))
    smooth = replace(options, consistency=Consistency(smooth_mm=5))
    assert not any(outcome.skipped for outcome in segment(scans, few, smooth))
    assert all(outcome.skipped for outcome in segment(scans, few, smooth))
    anew = replace(smooth, overwrite=True)
    assert not any(outcome.skipped for outcome in segment(scans, few, anew))


def test_results_beside_the_scans_are_no_queries_the_next_time(
    scans: Path, support: Support
) -> None:
    options = SegmentOptions(scans, OutputOptions(probability=True))
    segment(scans, support, options)
    again = segment(scans, support, options)
    assert [str(o.query) for o in again] == ["image_01", "image_02", "image_03"]
    assert all(outcome.skipped for outcome in again)


def test_a_bad_file_is_named_and_stops_no_other(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    damaged = scans / "image_02.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:900])
    first, second, third = segment(scans, support, SegmentOptions(tmp_path / "out"))
    assert first.mask is not None and third.mask is not None
    assert second.mask is None and "image_02.nii.gz" in second.error
    assert not (tmp_path / "out" / "image_02_seg.nii.gz").exists()


def test_a_full_disk_ends_the_run_with_the_reason(
    scans: Path, support: Support, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = segment_queries.write_outputs

    def full(*arguments: object) -> list[Path]:
        if "image_02" in str(arguments[2]):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(segment_queries, "write_outputs", full)
    first, second = segment(scans, support, SegmentOptions(tmp_path / "out"))
    assert first.mask is not None
    assert second.final and "no space is left on the disk" in second.error
    assert "again" in second.error and "finished is kept" in second.error
    assert not list((tmp_path / "out").rglob("image_02*"))


def test_a_folder_that_cannot_be_written_is_refused_at_once(scans: Path, support: Support) -> None:
    (scans / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        segment(scans, support, SegmentOptions(scans / "file"))


def test_files_of_others_are_never_written_over(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(scans / "label_02.nii.gz", out / "image_02_seg.nii.gz")
    before = (out / "image_02_seg.nii.gz").read_bytes()
    with pytest.raises(ConfigError, match=r"image_02_seg\.nii\.gz: is there already"):
        segment(scans, support, SegmentOptions(out, overwrite=True))
    assert (out / "image_02_seg.nii.gz").read_bytes() == before


def test_corrected_masks_are_kept(scans: Path, support: Support, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(scans, support, SegmentOptions(out))
    corrected = out / "image_02_seg.nii.gz"
    shutil.copy(scans / "label_02.nii.gz", corrected)
    before = corrected.read_bytes()
    rules = Consistency(largest=True)  # so all masks would be made again
    for options in (SegmentOptions(out), SegmentOptions(out, consistency=rules)):
        first, second, third = segment(scans, support, options)
        assert second.corrected and corrected.read_bytes() == before
        assert not first.corrected and not third.corrected
    given = SegmentOptions(
        out, consistency=rules, overwrite=True, keep=frozenset([corrected.resolve()])
    )
    assert segment(scans, support, given)[1].corrected
    assert corrected.read_bytes() == before
    assert not segment(scans, support, SegmentOptions(out, overwrite=True))[1].corrected
    assert corrected.read_bytes() != before


def test_a_damaged_mask_is_no_correction(scans: Path, support: Support, tmp_path: Path) -> None:
    """A disk that failed would else be taken for a person, and the mask be kept for good."""
    out = tmp_path / "out"
    name = segment(scans, support, SegmentOptions(out))[0].mask
    assert name is not None
    for content in (b"", name.read_bytes()[:40]):
        name.write_bytes(content)
        first, *others = segment(scans, support, SegmentOptions(out))
        assert f"{name}: the mask is damaged (" in first.error and "--overwrite" in first.error
        assert name.read_bytes() == content and not any(each.error for each in others)
    first = segment(scans, support, SegmentOptions(out, overwrite=True))[0]
    assert not first.error and read_volume(name).volume.data.any()


def test_a_folder_in_place_of_a_mask_is_named(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mask = segment(scans, support, SegmentOptions(out))[0].mask
    assert mask is not None
    mask.unlink()
    mask.mkdir()
    first = segment(scans, support, SegmentOptions(out))[0]
    assert first.error.endswith(f"{mask}: Is a directory; choose another folder")


def test_two_queries_of_one_name_are_refused(scans: Path, support: Support, tmp_path: Path) -> None:
    write_scans(tmp_path / "more", 1)
    queries = [*find_queries([scans]), *find_queries([tmp_path / "more"])]
    with pytest.raises(ConfigError, match="a result of both would be image_01_seg"):
        segment_files(SEGMENTER, queries, support, SegmentOptions(tmp_path / "out"))


COMMAND = """
import io, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from made_scans import quick_segmenter, segment_files
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.queries import find_queries
from dpcenet.volumes import nifti
class Slow(io.FileIO):
    def write(self, content):
        for start in range(0, len(content), 100):
            super().write(content[start : start + 100])
            time.sleep(0.01)
class Slowly(type(Path())):
    def open(self, mode):
        return Slow(str(self), mode)
nifti.write_atomically = lambda path, write, whole=nifti.write_atomically: whole(
    path, lambda temporary: write(Slowly(temporary)))
scans = Path(sys.argv[1])
segmenter = quick_segmenter()
support = segmenter.support(scans / "image_01.nii.gz", scans / "label_01.nii.gz")
options = SegmentOptions(Path(sys.argv[2]))
segment_files(segmenter, find_queries([scans]), support, options)
"""


def test_a_killed_run_leaves_no_half_mask_and_goes_on(
    scans: Path, support: Support, tmp_path: Path
) -> None:
    """The process is killed while its second mask is half-written."""
    out, here = tmp_path / "out", str(Path(__file__).parents[1])
    command = [sys.executable, "-c", COMMAND, str(scans), str(out), here]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(".partial-*image_02_seg.nii.gz")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(stamps(out)) == ["image_01_seg.nii.gz"]
    before = stamps(out)
    again = segment(scans, support, SegmentOptions(out))
    assert [outcome.skipped for outcome in again] == [True, False, False]
    assert stamps(out)["image_01_seg.nii.gz"] == before["image_01_seg.nii.gz"]
    assert len(stamps(out)) == 3 and not list(out.glob(".partial-*"))
