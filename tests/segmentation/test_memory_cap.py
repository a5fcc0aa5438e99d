"""The memory cap: what it means, what it refuses, and that it holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError, VolumeError
from dpcenet.inference.encoded import joined
from dpcenet.segmentation import memory_cap
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.types import Features, Volume
from dpcenet.volumes.grid import ScanFile, SourceGrid
from made_scans import quick_segmenter, segment_files, write_scans

SHAPE, SPACING = (8, 48, 48), (11.0, 6.0, 6.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("800 mb", 800 * 10**6),
        ("2GiB", 2 * 2**30),
        (" 2 gi ", 2 * 2**30),
        ("1.5G", 15 * 10**8),
        ("123", 123),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert memory_cap.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4TB", "much", "-4GB", "0", "4 G B", "4G,B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write a size such as 4GB"):
        memory_cap.parse_size(text)


def test_features_on_disk_are_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    parts = [
        Features({"a": torch.rand(n, 3, 4, generator=random), "b": torch.rand(n, generator=random)})
        for n in (4, 4, 2)
    ]
    kept, whole = joined(iter(parts), 10, tmp_path), Features.join(parts)
    assert not list(tmp_path.iterdir())
    for name in ("a", "b"):
        assert torch.equal(kept[name], whole[name])
    assert torch.equal(kept.rows([7, 1])["a"], whole["a"][[7, 1]])


def test_masks_under_a_cap_are_the_same(tmp_path: Path) -> None:
    segmenter = quick_segmenter()
    ((image, label), *_) = write_scans(tmp_path / "scans", 2)
    support = segmenter.support(image, label)
    queries = find_queries([tmp_path / "scans"])
    roomy = memory_cap.peak() + 10**9
    for name, cap in (("free", None), ("capped", roomy)):
        options = SegmentOptions(tmp_path / name, memory=cap)
        assert all(o.mask for o in segment_files(segmenter, queries, support, options))
    for query in queries:
        one, two = ((tmp_path / n / query.mask_name).read_bytes() for n in ("free", "capped"))
        assert one == two
    assert not list((tmp_path / "capped").glob(".partial-*"))


def test_a_cap_below_one_slice_is_refused(tmp_path: Path) -> None:
    segmenter = quick_segmenter()
    ((image, label),) = write_scans(tmp_path, 1)
    support = segmenter.support(image, label)
    with pytest.raises(ConfigError, match=r"cannot hold one slice .* at least \d+\.\d GB"):
        segment_files(
            segmenter,
            find_queries([image]),
            support,
            SegmentOptions(tmp_path / "out", memory=10**6),
        )


def test_a_scan_that_takes_too_much_is_refused_by_name() -> None:
    segmenter = quick_segmenter(size=64)
    image, labels = phantom(1, SHAPE, SPACING)
    support = segmenter.support(image, labels)
    scan = ScanFile(image, SourceGrid.of(image))
    voxels = 8 * 48 * 48
    least = voxels * (image.data.itemsize + 8 + 2) + 9 * 64 * 64 * 4 * (3 + 4)
    memory_cap.check_room(scan, support, least, "here.nii", 0, posed=False)
    with pytest.raises(VolumeError, match=r"here\.nii: segmenting 8 slices takes about"):
        memory_cap.check_room(scan, support, least - 1, "here.nii", 0, posed=False)
    with pytest.raises(VolumeError, match="--memory"):
        memory_cap.check_room(scan, support, least, "here.nii", 4, posed=False)
    with pytest.raises(VolumeError, match="--memory"):
        memory_cap.check_room(scan, support, least, "here.nii", 0, posed=True)


MEASURE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_scans import quick_segmenter, segment_files
from dpcenet.segmentation import memory_cap
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.queries import find_queries
place = Path(sys.argv[2])
from dpcenet.segmentation.segmenter import Segmenter
segmenter = quick_segmenter(size=128) if sys.argv[4] == "copy" else Segmenter.shipped("cpu")
support = segmenter.support(place / "small.nii", place / "label.nii")
cap = memory_cap.peak() + int(sys.argv[3])
options = SegmentOptions(place / sys.argv[3], memory=cap)
queries = find_queries([place / "ct.nii"])
(outcome,) = segment_files(segmenter, queries, support, options)
print(cap - memory_cap.peak(), outcome.error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("network", ["copy", "shipped"])
def test_a_large_ct_stays_under_the_cap(tmp_path: Path, network: str) -> None:
    """300 slices of 512² take 0.16 GB as they are; 1.6 GB beside the network must do."""
    import nibabel

    random = np.random.default_rng(0)
    image, labels = phantom(1, SHAPE, SPACING)
    large = np.repeat(random.integers(-1000, 1000, (512, 512, 30), np.int16), 10, axis=2)
    for name, data in (("small", image), ("label", labels)):
        nibabel.save(
            nibabel.Nifti1Image(data.data.T, data.affine[:, [2, 1, 0, 3]]),
            tmp_path / f"{name}.nii",
        )
    nibabel.save(nibabel.Nifti1Image(large, np.diag([0.7, 0.7, 1.5, 1])), tmp_path / "ct.nii")
    here = str(Path(__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for extra, refused in ((1_600_000_000, False), (500_000_000, True)):
        command = [sys.executable, "-c", MEASURE, here, str(tmp_path), str(extra), network]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        left, _, error = done.stdout.strip().partition(" ")
        assert int(left) > 0
        assert ("--memory" in error) == refused, error


def test_volume_is_not_copied_to_know_its_size() -> None:
    """The estimate looks at shapes only: a scan of 64 GB that exists nowhere can be asked about."""
    segmenter = quick_segmenter()
    image, labels = phantom(1, SHAPE, SPACING)
    support = segmenter.support(image, labels)
    huge = Volume(np.broadcast_to(np.int16(0), (2000, 4000, 4000)), np.diag([1.0, 1, 1, 1]))
    with pytest.raises(VolumeError, match="takes about"):
        memory_cap.check_room(ScanFile(huge, SourceGrid.of(huge)), support, 10**9, "huge", 0, True)
