"""A disk that is full in the middle of the work: the error names the file, no half file is left.

No file may grow beyond a limit while a command works, which is what a full disk looks like.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dpcenet.cli import app
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.task_file import write_task
from dpcenet.system.faults import out_of_space
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train
from made import tiny_config, write_prepared
from made_scans import quick_segmenter, segment_files, write_scans


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may have more bytes; Python ignores the signal, so writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(work: Callable[[], object], limit: int) -> str:
    """Work on a full disk; the file that the error names."""
    with pytest.raises(OSError) as caught, full_disk(limit):
        work()
    assert out_of_space(caught.value) and caught.value.filename is not None
    return Path(caught.value.filename).name


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".partial-" in path.name]


def test_train_and_evaluate(tmp_path: Path) -> None:
    data, run = write_prepared(tmp_path / "data", count=5), tmp_path / "run"
    flags = RunFlags(data, fold=0, folds=2)
    config = tiny_config()
    work = lambda: train(config, flags, run, device="cpu", quiet=True)  # noqa: E731
    assert refused(work, 100) == "run.json" and not (run / "run.json").exists()
    assert refused(work, 20_000).endswith(".safetensors") and not list(run.glob("*.safetensors"))
    work()
    judge = lambda: evaluate(run, ProtocolOptions("paper"), quiet=True)  # noqa: E731
    assert refused(judge, 100)
    assert not list(run.glob("summary-*")) and not partial_files(tmp_path)


def test_segment_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    ((image, mask), (query, _)) = write_scans(tmp_path / "scans", 2)
    segmenter, out = quick_segmenter(), tmp_path / "out"
    support, options = segmenter.support([image], [mask]), SegmentOptions(out, check=True)
    queries = find_queries([query])
    with full_disk(400):
        (failed,) = segment_files(segmenter, queries, support, options)
    assert failed.mask is None and failed.final and "free some space" in failed.error
    assert not partial_files(out) and not list(out.glob("image*"))
    (done,) = segment_files(segmenter, queries, support, options)
    assert done.mask is not None and done.mask.is_file()


def test_a_task_file(tmp_path: Path) -> None:
    ((image, mask),) = write_scans(tmp_path / "scans", 1)
    segmenter, task = quick_segmenter(), tmp_path / "out" / "a.task"
    support = segmenter.support([image], [mask])
    assert refused(lambda: write_task(task, segmenter.predictor, support), 1000) == "a.task"
    assert not list(task.parent.iterdir())


@pytest.mark.slow
def test_prepare_names_the_scans_and_complete_and_pretrain_leave_nothing(tmp_path: Path) -> None:
    ((image, mask),) = write_scans(tmp_path / "scans", 1)
    runner, out = CliRunner(), tmp_path / "out"
    commands = (
        ["prepare", tmp_path / "scans", out / "prepared"],
        ["complete", image, mask, "-o", out / "full.nii.gz", "--open-ended"],
        ["pretrain", "--run", out / "pretrained", "--set", "batch=1", "--set", "steps=1"],
    )
    for command in commands:
        with full_disk(200):
            done = runner.invoke(app, [str(part) for part in command])
        assert done.exit_code != 0 and done.exception is not None
        assert out_of_space(done.exception) or "1 of 1 cases failed" in str(done.exception)
        assert not partial_files(out), command
        assert not list(out.rglob("*.safetensors")) and not list(out.glob("*.nii.gz"))
