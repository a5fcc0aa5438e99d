"""Made-up scans of a plan: prepared once, then kept."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.store import open_dataset
from dpcenet.evaluation.benchmark.phantom_data import write_phantom_data


def times(folder: Path) -> dict[Path, int]:
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_scans_are_made_once(tmp_path: Path) -> None:
    folder = write_phantom_data(tmp_path, 2)
    dataset = open_dataset(folder)
    assert [case.image.shape[1:] for case in dataset.cases] == [(96, 96)] * 2
    assert set(dataset.labels.values()) == {"liver", "right kidney", "left kidney", "spleen"}
    before = times(tmp_path)
    assert write_phantom_data(tmp_path, 2) == folder
    assert before == times(tmp_path)
