"""The folder of the results: one call at a time, and Ctrl-C keeps what is done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpcenet.cli.segment import _tell
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.segmentation.output_folder import collect, locked
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.segment_folder import SegmentSummary
from dpcenet.segmentation.segment_options import Outcome

QUERIES = [Query(Path(f"{name}.nii"), Path(name), ".nii") for name in "abc"]


def test_a_second_call_is_told_who_has_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path\n"
        "from dpcenet.segmentation.output_folder import locked\n"
        "with locked(Path(sys.argv[1])): print('have it', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", program, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"have it\n"
        told = rf"out: process {first.pid} on .* is segmenting into it"
        with pytest.raises(ConfigError, match=told), locked(out):
            pass
        first.kill()
    with locked(out):  # the killed process holds nothing
        assert len(list(out.iterdir())) == 1
    assert not list(out.iterdir())


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: cannot be written"), locked(tmp_path / "file"):
        pass


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    def outcomes() -> Iterator[Outcome]:
        yield Outcome(Path("a"), tmp_path / "a_seg.nii", facts={"seconds": 1.0})
        raise KeyboardInterrupt

    done = collect(outcomes(), QUERIES, tmp_path, quiet=True)
    assert [str(outcome.query) for outcome in done] == ["a"]
    (case,) = json.loads((tmp_path / "segment.json").read_text())["cases"]
    assert case == {"query": "a", "mask": "a_seg.nii", "error": "", "seconds": 1.0}
    with pytest.raises(DatasetError, match=r"2 more were not reached: run the same command again"):
        _tell(SegmentSummary(3, tuple(done)), tmp_path)
