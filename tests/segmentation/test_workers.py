"""Several processes write what one writes, and one that is killed costs its own queries only."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from dpcenet.errors import ConfigError
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.output_folder import collect
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.workers import segment_on, segment_shares
from dpcenet.system.parallel import in_turn
from made_scans import segment_files, write_scans


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_scans(scans, 3)
    damaged = scans / "image_02.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:900])
    labelled_input = LabelledInput(
        (scans / "image_01.nii.gz",), (scans / "label_01.nii.gz",), labels=(4,)
    )
    queries = find_queries([scans])
    one, two = SegmentOptions(tmp_path / "one"), SegmentOptions(tmp_path / "two")
    segmenter, support = labelled_input.open()
    alone = segment_files(segmenter, queries, support, one)
    shared = collect(segment_shares(labelled_input, queries, two, 2), queries, two.out, quiet=True)
    assert [o.query for o in shared] == [o.query for o in alone] == [q.name for q in queries]
    assert [bool(o.mask) for o in shared] == [True, False, True]
    assert shared[1].error == alone[1].error
    for name in ("image_01_seg.nii.gz", "image_03_seg.nii.gz"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()


def test_an_engine_of_a_cluster_writes_what_one_process_writes(tmp_path: Path) -> None:
    """`in_turn` has the interface of a cluster's engine; a damaged scan is named, and a share that
    is lost costs its own queries."""
    scans = tmp_path / "scans"
    write_scans(scans, 2)
    labelled_input = LabelledInput(
        (scans / "image_01.nii.gz",), (scans / "label_01.nii.gz",), labels=(4,)
    )
    queries = find_queries([scans])
    one, two = SegmentOptions(tmp_path / "one"), SegmentOptions(tmp_path / "two")
    segmenter, support = labelled_input.open()
    segment_files(segmenter, queries, support, one)
    threads = torch.get_num_threads()  # in_turn works in this process
    found = list(segment_on(in_turn, labelled_input, queries, two, threads))
    assert [o.query for o in found] == [q.name for q in queries] and all(o.mask for o in found)
    for name in ("image_01_seg.nii.gz", "image_02_seg.nii.gz"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()
    nowhere = LabelledInput(task=tmp_path / "missing.task")
    lost = list(segment_on(in_turn, nowhere, queries, two, threads))
    assert [o.mask for o in lost] == [None, None] and "missing.task" in lost[0].error


@pytest.mark.slow
def test_queries_of_a_killed_process_are_named(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_scans(scans, 4)
    labelled_input = LabelledInput(
        (scans / "image_01.nii.gz",), (scans / "label_01.nii.gz",), labels=(4,)
    )
    outcomes = []
    for outcome in segment_shares(
        labelled_input, find_queries([scans]), SegmentOptions(tmp_path / "out"), 2
    ):
        for child in multiprocessing.active_children():
            child.kill()
        outcomes.append(outcome)
    assert sorted(str(o.query) for o in outcomes) == [f"image_0{n}" for n in (1, 2, 3, 4)]
    lost = [outcome for outcome in outcomes if outcome.mask is None]
    assert len(lost) >= 2 and all("exit code -9" in outcome.error for outcome in lost)
    whole = {str(outcome.query) for outcome in outcomes if outcome.mask is not None}
    assert whole <= {path.name[:8] for path in (tmp_path / "out").glob("image_*_seg.nii.gz")}


def test_an_opening_names_what_is_missing_or_too_much(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no labelled scan"):
        LabelledInput().open()
    with pytest.raises(ConfigError, match="not both"):
        LabelledInput(images=(tmp_path,), task=tmp_path).open()
