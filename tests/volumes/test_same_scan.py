"""One scan is known again in any type, array order and format; a changed one is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dpcenet.types import Volume
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.same_scan import ScanIdentity
from made import moved
from raw_layouts import made_case, write_dicom


def test_type_and_array_order_are_no_matter_and_voxels_and_place_are() -> None:
    image, _ = made_case()
    known = ScanIdentity.of("a", image, lambda: image)
    assert known.is_of(Volume(image.data.astype(np.float64), image.affine))
    assert known.is_of(moved(image, (2, 0, 1), (True, False, True)))
    changed, elsewhere = image.data.copy(), image.affine.copy()
    changed[1, 2, 3] += 1
    elsewhere[0, 3] += 1.0
    assert not known.is_of(Volume(changed, image.affine))
    assert not known.is_of(Volume(image.data, elsewhere))
    assert not known.is_of(Volume(image.data[:-1], image.affine))


def test_voxels_are_looked_at_only_on_the_same_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder of a thousand scans none is hashed without need, nor is the labelled scan."""
    image, _ = made_case()
    looked: list[int] = []
    read: list[str] = []

    def look(data: npt.NDArray[np.generic]) -> str:
        looked.append(data.size)
        return str(data.sum())

    def again() -> Volume:
        read.append("again")
        return image

    monkeypatch.setattr("dpcenet.volumes.same_scan.voxels_digest", look)
    known = ScanIdentity.of("a", image, again)
    assert not known.is_of(Volume(image.data[1:], image.affine)) and not looked and not read
    assert known.is_of(image) and looked == [image.data.size] * 2
    assert not known.is_of(Volume(image.data + 1, image.affine))
    assert looked == [image.data.size] * 3 and read == ["again"]


def test_a_series_and_its_copy(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    image, _ = made_case()
    write_dicom(image, tmp_path / "a")
    write_dicom(image, tmp_path / "b", order=[*range(len(image.data))][::-1])
    one, other = (read_volume(tmp_path / name).volume for name in "ab")
    assert ScanIdentity.of("a", one, lambda: one).is_of(other)
