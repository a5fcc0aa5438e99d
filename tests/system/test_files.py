"""Files are whole or absent; hashes depend on content alone."""

from __future__ import annotations

import ast
import hashlib
import stat
from pathlib import Path

import pytest

import dpcenet
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


BESIDE = {
    "app/jobs.py": "the log of a job, line by line",
    "app/labels_api.py": "a file that was sent, in a temporary folder",
    "data/prepare_case.py": "called by write_atomically",
    "evaluation/benchmark/resources.py": "a switch of the system in /proc",
    "system/lock.py": "who has a folder: the file itself is the lock",
    "training/log.py": "a line for each step",
    "volumes/archive.py": "unpacked into a temporary folder",
    "volumes/nifti.py": "called by write_atomically",
}
"""Files that write in another way than `write_atomically`, and why."""


def writes_itself(tree: ast.AST) -> bool:
    """Whether a source writes a file outside of what it hands to `write_atomically`."""
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    handed = {id(part) for node in lambdas for part in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in handed:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        method = isinstance(node.func, ast.Attribute)
        given = [part.value for part in node.args if isinstance(part, ast.Constant)]
        modes = [mode for mode in given if isinstance(mode, str) and len(mode) < 4]
        if method and name in ("write_text", "write_bytes"):
            return True
        if name == "open" and any(set("wax") & set(mode) for mode in modes):
            return True
    return False


def test_everything_is_written_whole_or_not_at_all() -> None:
    """So a full disk leaves nothing half-written, and is one line that names the file."""
    source = Path(dpcenet.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if writes_itself(ast.parse(path.read_text("utf-8")))
    }
    assert found == set(BESIDE)
    assert writes_itself(ast.parse("Path('a').write_bytes(b'')"))
    assert writes_itself(ast.parse("with path.open('w') as file: pass"))
    assert not writes_itself(ast.parse("write_atomically(p, lambda t: t.write_bytes(b''))"))
