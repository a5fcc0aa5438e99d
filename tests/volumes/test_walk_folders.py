"""Folders as they come: what cannot be opened or used is left aside and named, nothing is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_find_scans import MASK, SCAN, save

from dpcenet.volumes.find_scans import find_scans
from dpcenet.volumes.walk_folders import HOLDS_IT, LEADS_OUT, LeftAside, shown
from raw_layouts import made_case, write_dicom

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


def looked(
    folder: Path, skip: Path | None = None, links_out: bool = True
) -> tuple[list[str], dict[str, str]]:
    """The scans, and name → why of what was left aside."""
    aside: list[LeftAside] = []
    found = find_scans(folder, skip, aside, links_out)
    scans = [str(Path(str(scan)).relative_to(folder)) for scan in found]
    return scans, {each.path.name: each.why for each in aside}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed from now on."""
    seen: list[Path] = []
    list_ = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        seen.append(path)
        return list_(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    return seen


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that Python opens from now on."""
    seen: list[Path] = []
    open_ = Path.open

    def opening(path: Path, *given: Any, **named: Any) -> Any:
        seen.append(path)
        return open_(path, *given, **named)

    monkeypatch.setattr(Path, "open", opening)
    return seen


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


@pytest.mark.parametrize("links_out", [True, False])
def test_links_to_folders_that_hold_them_are_never_followed(
    tmp_path: Path, links_out: bool, opened: list[Path]
) -> None:
    save(tmp_path / "around" / "other.nii", SCAN)
    folder = tmp_path / "around" / "scans"
    save(folder / "deep" / "a.nii", SCAN)
    (folder / "deep" / "all").symlink_to("/")
    (folder / "deep" / "back").symlink_to(folder / "deep")
    (folder / "up").symlink_to(folder.parent)
    (folder / "me").symlink_to(folder / "me")
    scans, aside = looked(folder, links_out=links_out)
    assert scans == ["deep/a.nii"]
    why = HOLDS_IT if links_out else LEADS_OUT
    assert aside.pop("all") == aside.pop("up") == why
    assert list(aside) == ["me"] and "leads nowhere" in aside["me"]
    assert opened == [folder, folder / "deep"]


def test_a_linked_folder_may_hold_a_link_to_what_holds_it(tmp_path: Path) -> None:
    save(tmp_path / "study" / "scans" / "b.nii", SCAN)
    save(tmp_path / "study" / "c.nii", SCAN)
    (tmp_path / "study" / "scans" / "home").symlink_to(tmp_path / "study")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in").symlink_to(tmp_path / "study" / "scans")
    scans, aside = looked(tmp_path / "folder")
    assert scans == ["in/b.nii"] and aside == {"home": HOLDS_IT}


def test_links_out_are_left_aside_where_they_are_not_wanted(
    tmp_path: Path, opened: list[Path], read: list[Path]
) -> None:
    """Nothing that lies elsewhere is opened: folder, file, voxels, description or record."""
    folder, secret = tmp_path / "scans", tmp_path / "secret"
    for each in (folder / "z", folder / "sibling", secret):
        save(each / "a.nii", SCAN)
    (folder / "again").symlink_to(folder / "sibling")
    save(folder / "described.nii", SCAN)
    write_mhd(folder / "voxels.mhd", folder / "voxels.raw", secret)
    write_mhd(folder / "mask.mhd", folder / "mask.raw", secret)
    for name in ("file.nii", "described.json", "record_seg.nii.json", "folder"):
        target = secret if name == "folder" else secret / name
        if name.endswith(".json"):
            target.write_text("{}")
        elif name != "folder":
            save(target, SCAN)
        (folder / name).symlink_to(target)
    read.clear()
    scans, aside = looked(folder, links_out=False)
    assert scans == ["sibling/a.nii", "z/a.nii"]
    out = {"file.nii", "described.json", "record_seg.nii.json", "folder", "voxels.mhd"}
    out |= {"described.nii", "mask.mhd", "voxels.raw", "mask.raw"}
    assert aside == dict.fromkeys(out, LEADS_OUT)
    assert read and all(path.resolve().is_relative_to(folder) for path in (*opened, *read))
    everything, _ = looked(folder)
    assert {"file.nii", "described.nii", "voxels.mhd"} < set(everything) and len(everything) == 8


def test_a_series_beside_a_link_out_is_left_aside(tmp_path: Path, read: list[Path]) -> None:
    """A series is its folder's files of one number: one that may not be opened may belong to it."""
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    image, _ = made_case()
    for name in ("whole", "linked"):
        write_dicom(image, tmp_path / "scans" / name, [3, 0, 5, 1, 4, 2])
    slice_ = sorted((tmp_path / "scans" / "linked").iterdir())[2]
    slice_.rename(tmp_path / "elsewhere")
    slice_.symlink_to(tmp_path / "elsewhere")
    read.clear()
    scans, aside = looked(tmp_path / "scans", links_out=False)
    assert scans == ["whole"] and aside[slice_.name] == LEADS_OUT
    assert aside["linked"].startswith("beside a link that leads out")
    assert all(path.resolve().is_relative_to(tmp_path / "scans") for path in read)
    assert sorted(looked(tmp_path / "scans")[0]) == ["linked", "whole"]


def write_mhd(header: Path, raw: Path, elsewhere: Path) -> None:
    """A header whose voxels are a link to a file in another folder."""
    text = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 4\nElementType = MET_SHORT\n"
    header.write_text(f"{text}ElementSpacing = 1 1 1\nElementDataFile = {raw.name}\n")
    random = np.random.default_rng(0)
    (elsewhere / raw.name).write_bytes(random.integers(0, 999, 256, np.int16).tobytes())
    raw.symlink_to(elsewhere / raw.name)


def test_maps_of_many_labels_are_masks(tmp_path: Path) -> None:
    many = np.kron(np.arange(1, 109).reshape(6, 6, 3), np.ones((4, 4, 2), np.int16))
    save(tmp_path / "ct.nii", SCAN)
    for name in ("ct_total.nii", "ct_seg.nii", "ct-seg.nii", "sub-1_dseg.nii", "ct_masks.nii"):
        save(tmp_path / name, many.astype(np.int16))
    save(tmp_path / "ct_gt.nii", MASK)
    scans, aside = looked(tmp_path)
    assert scans == ["ct.nii"] and set(aside.values()) == {"a mask"} and len(aside) == 6


def test_a_zip_beside_scans_is_named(tmp_path: Path) -> None:
    """It may hold a scan, which nobody would miss."""
    save(tmp_path / "a.nii.gz", SCAN)
    for name in ("b.zip", "C.ZIP", "notes.txt"):
        (tmp_path / name).write_bytes(b"PK")
    scans, aside = looked(tmp_path)
    assert scans == ["a.nii.gz"] and sorted(aside) == ["C.ZIP", "b.zip"]
    assert all("read if you name it" in why for why in aside.values())
