"""Files are whole or absent; hashes depend on content alone."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from dpcenet.system.files import (
    file_hash,
    hash_of,
    read_json,
    reserve,
    write_atomically,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.txt"
    write_text(path, "old é")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_atomically(path, fail)
    assert path.read_text("utf-8") == "old é" and list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_temporary_file_has_the_suffix(tmp_path: Path) -> None:
    names: list[str] = []
    write_atomically(tmp_path / "x.nii.gz", lambda path: names.append(path.name))
    assert names[0].endswith("x.nii.gz") and names[0].startswith(".partial-")


def test_json_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [None, "é"]})
    assert read_json(tmp_path / "x.json") == {"b": 1, "a": [None, "é"]}
    assert (tmp_path / "x.json").read_text().startswith('{\n  "b": 1')


def test_hashes_of_values_do_not_depend_on_order(tmp_path: Path) -> None:
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest() != hash_of({"a": 2})
    (tmp_path / "x").write_bytes(b"bytes")
    assert file_hash(tmp_path / "x") == hashlib.sha256(b"bytes").hexdigest()


def test_reserved_room_is_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    reserve(path, 2, 4000)
    assert path.stat().st_size in (3, 4002)  # 3 where the system cannot do it
    assert path.read_bytes()[:3] == b"abc"
