"""One case: what decides that it is prepared again, and what its sources' hash sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.prepare_case import Rules, intact, source_hash
from dpcenet.system.files import file_hash
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing


def test_a_folders_hash_sees_names_and_content(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return source_hash(tmp_path / name)

    first = folder("one", {"a.dcm": "1", "sub/b.dcm": "2"})
    assert folder("two", {"sub/b.dcm": "2", "a.dcm": "1"}) == first
    assert folder("three", {"a.dcm": "2", "sub/b.dcm": "1"}) != first
    assert folder("four", {"a.dcm": "1", "b.dcm": "2"}) != first


def test_a_step_in_pixels_becomes_mm_of_each_scan() -> None:
    rules = Rules(Preprocessing.for_ct(), pixel_step=1.75)
    volume = Volume(np.zeros((4, 8, 8)), np.diag([0.8, 0.8, 3.0, 1.0])[:, [2, 1, 0, 3]])
    assert rules.of(volume).spacing_mm == pytest.approx(1.75 * 0.8)
    assert Rules(Preprocessing.for_ct()).of(volume) == Preprocessing.for_ct()
    assert "pixel_step" in rules.to_json()
    assert "pixel_step" not in Rules(Preprocessing.for_ct()).to_json()


@pytest.mark.parametrize("change", ["deleted", "one byte"])
def test_a_changed_array_is_noticed(tmp_path: Path, change: str) -> None:
    folder = tmp_path
    (folder / "a.npy").write_bytes(b"voxels")
    digest = file_hash(folder / "a.npy")
    (folder / "case.json").write_text(json.dumps({"arrays": {"a": digest}}))
    assert intact(folder)
    if change == "deleted":
        (folder / "a.npy").unlink()
    else:
        (folder / "a.npy").write_bytes(b"voxelz")
    assert not intact(folder)
