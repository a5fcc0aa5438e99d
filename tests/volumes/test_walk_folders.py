"""Folders as they come: what cannot be opened or used is left aside and named, nothing is lost."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from test_find_scans import MASK, SCAN, save

from dpcenet.volumes.find_scans import find_scans
from dpcenet.volumes.walk_folders import LeftAside, shown

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


def looked(folder: Path, skip: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """The scans, and name → why of what was left aside."""
    aside: list[LeftAside] = []
    scans = [str(Path(str(scan)).relative_to(folder)) for scan in find_scans(folder, skip, aside)]
    return scans, {each.path.name: each.why for each in aside}


def test_what_is_no_file_is_named_and_stops_nothing(tmp_path: Path) -> None:
    save(tmp_path / "good.nii", SCAN)
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "self.nii").symlink_to(tmp_path / "self.nii")
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nowhere")
    save(tmp_path / "folder.nii.gz" / "inner.nii", SCAN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.nii"))
        scans, aside = looked(tmp_path)
    assert scans == ["good.nii", "folder.nii.gz/inner.nii"]
    assert aside["pipe.nii"] == aside["s.nii"] == "not a regular file"
    assert "leads nowhere" in aside["self.nii"] and "leads nowhere" in aside["gone.nii"]
    assert "searched as a folder" in aside["folder.nii.gz"] and len(aside) == 5


def test_names_that_allow_no_results(tmp_path: Path) -> None:
    save(tmp_path / "good.nii", SCAN)
    save(tmp_path / ("n" * 247 + ".nii"), SCAN)
    (tmp_path / os.fsdecode(b"caf\xe9.nii")).write_bytes((tmp_path / "good.nii").read_bytes())
    (tmp_path / os.fsdecode(b"notes\xe9.txt")).write_text("no scan: no news")
    scans, aside = looked(tmp_path)
    assert scans == ["good.nii"] and len(aside) == 2
    assert any("251 bytes" in why for why in aside.values())
    assert any("not UTF-8" in why for why in aside.values())
    named = shown(tmp_path / os.fsdecode(b"caf\xe9.nii"))
    assert named.endswith(r"caf\xe9.nii") and named.isprintable()


def test_folders_nested_too_deeply(tmp_path: Path) -> None:
    save(tmp_path / "good.nii", SCAN)
    start = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(300):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
    finally:
        os.chdir(start)
    aside: list[LeftAside] = []
    assert list(find_scans(tmp_path, aside=aside)) == [tmp_path / "good.nii"]
    (left,) = aside
    assert left.why == "more than 64 folders deep" and len(shown(left.path)) < 200


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "scans" / "z" / "a.nii", SCAN)
    save(tmp_path / "elsewhere" / "b.nii", SCAN)
    (tmp_path / "scans" / "again").symlink_to(tmp_path / "scans" / "z")
    (tmp_path / "scans" / "z" / "up").symlink_to(tmp_path / "scans")
    (tmp_path / "scans" / "one").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans" / "two").symlink_to(tmp_path / "elsewhere")
    scans, aside = looked(tmp_path / "scans")
    assert sorted(scans)[1:] == ["z/a.nii"] and sorted(scans)[0] in ("one/b.nii", "two/b.nii")
    assert not aside


def test_maps_of_many_labels_are_masks(tmp_path: Path) -> None:
    many = np.kron(np.arange(1, 109).reshape(6, 6, 3), np.ones((4, 4, 2), np.int16))
    save(tmp_path / "ct.nii", SCAN)
    for name in ("ct_total.nii", "ct_seg.nii", "ct-seg.nii", "sub-1_dseg.nii", "ct_masks.nii"):
        save(tmp_path / name, many.astype(np.int16))
    save(tmp_path / "ct_gt.nii", MASK)
    scans, aside = looked(tmp_path)
    assert scans == ["ct.nii"] and set(aside.values()) == {"a mask"} and len(aside) == 6
