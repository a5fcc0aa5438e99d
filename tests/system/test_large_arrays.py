"""Large arrays lie in files: the same values, little memory, nothing left behind."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dpcenet.system import large_arrays
from dpcenet.system.large_arrays import (
    blocks,
    changed,
    give_back,
    low_and_high,
    mapped,
    planes,
    room_for,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process holds")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arrays above 1 kB are large, and their files lie where the test can see them."""
    monkeypatch.setattr(large_arrays, "LARGE", 1000)
    monkeypatch.setattr(large_arrays, "BLOCK", 4096)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def held() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lies_in_a_file(array: np.ndarray) -> bool:
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, large_arrays._Pages)


def test_only_a_large_array_lies_in_a_file_and_it_has_no_name(tmp_path: Path) -> None:
    small, large = room_for((10, 10), np.uint8), room_for((30, 20, 10), np.float32)
    assert not lies_in_a_file(small) and lies_in_a_file(large)
    assert not small.any() and not large.any()
    assert not list(tmp_path.iterdir())


def test_what_is_small_alone_lies_in_a_file_where_there_are_many() -> None:
    assert lies_in_a_file(room_for((10, 10), np.uint8, among=11))
    assert not lies_in_a_file(room_for((10, 10), np.uint8, among=10))


def test_values_stay_when_the_memory_is_given_back() -> None:
    array = room_for((30, 20, 10), np.float32)
    wanted = np.arange(array.size, dtype=np.float32).reshape(array.shape)
    array[...] = wanted
    give_back(array[3:, ::2].transpose(2, 0, 1))  # a view of a view will do
    assert np.array_equal(array, wanted)


def test_memory_of_others_is_never_given_back(tmp_path: Path) -> None:
    """A mapping that copies on writing would lose what was written."""
    np.zeros(100_000, np.uint8).tofile(tmp_path / "a")
    theirs = np.memmap(tmp_path / "a", np.uint8, "c")
    theirs[:] = 7
    give_back(theirs)
    give_back(np.ones(3))
    assert (theirs == 7).all()


@LINUX
def test_going_through_blocks_holds_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "BLOCK", 2**20)
    array = room_for((200, 512, 512), np.uint8)  # 50 MB
    before, most = held(), 0
    for part in blocks(array):
        array[part] = 1
        most = max(most, held())
    assert most - before < 8 * 2**20
    total = sum(int(plane.sum()) for plane in planes(array))
    assert total == array.size and held() - before < 8 * 2**20


def test_blocks_are_every_part_once() -> None:
    array = room_for((37, 16, 16), np.float32)
    index = [z for part in blocks(array) for z in range(37)[part]]
    assert index == [*range(37)] and len([*blocks(array)]) > 1
    turned = array.transpose(2, 0, 1)[::-1]
    assert [z for part in blocks(turned) for z in range(16)[part]] == [*range(16)]


def test_without_room_on_the_disk_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(large_arrays, "reserve", full)
    array = room_for((30, 20, 10), np.float32)
    assert not lies_in_a_file(array) and array.shape == (30, 20, 10)


def test_lowest_highest_and_other_types() -> None:
    array = np.random.default_rng(0).normal(0, 50, (40, 13, 11)).astype(np.float32)
    assert low_and_high(array) == (array.min(), array.max())
    array[7, 3, 2] = np.nan
    assert np.isnan(low_and_high(array)).all()
    whole = np.random.default_rng(0).integers(0, 9, (40, 13, 11))
    assert np.array_equal(changed(whole, np.uint8), whole)
    assert changed(whole, whole.dtype) is whole
    assert changed(whole, whole.dtype, room_for(whole.shape, whole.dtype)) is not whole


def test_bytes_of_a_temporary_file() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(range(200)) * 50)
        array = mapped(file, 10_000)  # type: ignore[arg-type]
    assert lies_in_a_file(array) and np.array_equal(array[:200], np.arange(200))
