"""A second call: results are no queries, stale ones go, lost and damaged state is made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.inference.support import Support
from dpcenet.segmentation.outputs import OutputOptions
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.walk_folders import LeftAside
from made_scans import quick_segmenter, segment_files, write_scans


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmenter, Support]:
    """A scan, and a segmenter with the support."""
    folder = tmp_path_factory.mktemp("scans")
    (first, second) = write_scans(folder, 2)
    segmenter = quick_segmenter()
    return second[0], segmenter, segmenter.support([first[0]], [first[1]], [1, 2])


def segmented(made: tuple[Path, Segmenter, Support], out: Path, **options: object) -> Outcome:
    scan, segmenter, support = made
    (done,) = segment_files(
        segmenter,
        find_queries([scan]),
        support,
        SegmentOptions(out, **options),  # type: ignore[arg-type]
    )
    assert done.mask is not None, done.error
    return done


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("image*"))


def test_results_are_no_queries_wherever_they_lie(
    made: tuple[Path, Segmenter, Support], tmp_path: Path
) -> None:
    scan = tmp_path / "image_02.nii.gz"
    shutil.copy(made[0], scan)
    segmented(made, tmp_path, outputs=OutputOptions(probability=True, mesh=True))
    maps = sorted(tmp_path.glob("*_prob_*.nii.gz"))
    assert len(maps) == 2 and len(list(tmp_path.glob("*_mesh_*.stl"))) == 2
    for paths in ([tmp_path], [f"{tmp_path}/*.nii.gz"], [f"{tmp_path}/*"]):
        aside: list[LeftAside] = []
        (query,) = find_queries(paths, aside=aside)
        assert query.source == scan
        assert {each.path for each in aside if "earlier call" in each.why} >= set(maps)
    (tmp_path / "image_02_seg.nii.gz").unlink()  # its record still names the others
    assert [query.source for query in find_queries([tmp_path])] == [scan]
    (named,) = find_queries([maps[0]])
    with pytest.raises(VolumeError, match="result of an earlier call"):
        named.read()


def test_what_a_new_call_does_not_write_is_withdrawn(
    made: tuple[Path, Segmenter, Support], tmp_path: Path
) -> None:
    everything = OutputOptions(probability=True, mesh=True)
    segmented(made, tmp_path, outputs=everything)
    assert len(names(tmp_path)) == 6
    segmented(made, tmp_path, outputs=OutputOptions(mesh=True))
    mine = ["image_02_mesh_1.stl", "image_02_mesh_2.stl"]
    rest = ["image_02_seg.nii.gz", "image_02_seg.nii.gz.json"]
    assert names(tmp_path) == [*mine, *rest]
    segmented(made, tmp_path)
    assert names(tmp_path) == rest


def test_a_damaged_record_and_its_mask_are_kept_and_made_again(
    made: tuple[Path, Segmenter, Support], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = segmented(made, tmp_path)
    assert before.mask is not None
    record = tmp_path / "image_02_seg.nii.gz.json"
    record.write_text(record.read_text()[:40])
    content = before.mask.read_bytes()
    again = segmented(made, tmp_path)
    assert not again.skipped and str(record) in caplog.text
    assert (tmp_path / "image_02_seg.nii.gz.damaged").read_bytes() == content
    assert (tmp_path / "image_02_seg.nii.gz.json.damaged").is_file()
    kept, new = (tmp_path / "old.nii.gz", again.mask)
    shutil.copy(tmp_path / "image_02_seg.nii.gz.damaged", kept)
    assert new is not None
    np.testing.assert_array_equal(read_volume(new).volume.data, read_volume(kept).volume.data)
    assert segmented(made, tmp_path).skipped


@pytest.mark.parametrize("damage", [None, "{", '{"case": 1}'])
def test_a_lost_or_damaged_case_of_the_review_is_made_again(
    made: tuple[Path, Segmenter, Support], tmp_path: Path, damage: str | None
) -> None:
    assert not segmented(made, tmp_path, check=True).skipped
    assert segmented(made, tmp_path, check=True).skipped
    case = tmp_path / "review" / "image_02.json"
    whole = case.read_text()
    case.unlink() if damage is None else case.write_text(damage)
    assert not segmented(made, tmp_path, check=True).skipped
    assert case.read_text() == whole
