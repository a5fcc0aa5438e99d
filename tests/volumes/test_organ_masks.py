"""Several masks of one scan: put together by name; what contradicts is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.errors import ConfigError, VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.mask_files import OrganMasks, parse_masks
from dpcenet.volumes.masks import read_mask
from dpcenet.volumes.scan_file import Code, Labels, ScanFile, SourceGrid
from dpcenet.volumes.write_masks import write_mask

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def save(path: Path, *boxes: tuple[int, int, int], affine: np.ndarray = AFFINE) -> Path:
    """A mask (8, 8, 4) with a value in columns low…high of x."""
    data = np.zeros((8, 8, 4), np.uint8)
    for value, low, high in boxes:
        data[low:high, 2:6, 1:3] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def image() -> ScanFile:
    volume = Volume(np.zeros((4, 8, 8), np.int16), AFFINE[:, [2, 1, 0, 3]])
    return ScanFile(volume, SourceGrid.of(volume))


def columns(mask: ScanFile, value: int) -> list[int]:
    """Which columns show a label."""
    return np.flatnonzero((mask.volume.data == value).any(axis=(0, 1))).tolist()


def test_a_folder_with_a_file_for_each_organ(image: ScanFile, tmp_path: Path) -> None:
    save(tmp_path / "spleen.nii.gz", (1, 0, 3))
    save(tmp_path / "liver.nii.gz", (255, 4, 6))
    save(tmp_path / "kidney_left.nii.gz")
    found = read_mask(tmp_path, image)
    assert found.facts.labels.names == {1: "liver", 2: "spleen"}
    assert columns(found, 1) == [4, 5] and columns(found, 2) == [0, 1, 2]
    assert found.facts.notes == ("empty: 1 of 3 masks (kidney_left.nii.gz)",)


def test_names_that_the_person_gives_and_masks_in_another_array_order(
    image: ScanFile, tmp_path: Path
) -> None:
    flipped = AFFINE.copy()
    flipped[0] = (-2, 0, 0, 14)
    files = (
        save(tmp_path / "a.nii", (1, 0, 2), affine=flipped),
        save(tmp_path / "b.nii", (1, 3, 5)),
    )
    found = read_mask(OrganMasks(files, ("Leber", "Milz")), image)
    assert found.facts.labels.names == {1: "Leber", 2: "Milz"}
    assert columns(found, 1) == [6, 7] and columns(found, 2) == [3, 4]


def test_values_that_are_asked_for(image: ScanFile, tmp_path: Path) -> None:
    files = (save(tmp_path / "a.nii", (1, 0, 2)), save(tmp_path / "b.nii", (1, 3, 5)))
    found = read_mask(OrganMasks(files, ("a", "b"), (9, 4)), image)
    assert found.facts.labels.names == {9: "a", 4: "b"}
    assert columns(found, 9) == [0, 1] and columns(found, 4) == [3, 4]


def test_masks_with_names_of_their_own_keep_them_and_their_codes(
    image: ScanFile, tmp_path: Path
) -> None:
    code = Code("SCT", "10200004", "Liver")
    data = np.zeros((4, 8, 8), np.uint8)
    data[1, 1, 1], data[1, 1, 2] = 5, 7
    labels = Labels({5: "Liver", 7: "Spleen"}, {5: code})
    write_mask(data, tmp_path / "named.nii.gz", image.grid, labels)
    other = save(tmp_path / "aorta.nii.gz", (1, 5, 6))
    found = read_mask(OrganMasks((other, tmp_path / "named.nii.gz"), ("", "")), image)
    assert found.facts.labels.names == {1: "aorta", 2: "Liver", 3: "Spleen"}
    assert found.facts.labels.codes == {2: code}
    assert columns(found, 2) == [1] and columns(found, 3) == [2]


def test_contradictions_are_refused_in_a_line(image: ScanFile, tmp_path: Path) -> None:
    liver = save(tmp_path / "liver.nii.gz", (1, 0, 3))
    spleen = save(tmp_path / "spleen.nii.gz", (1, 2, 5))
    both = save(tmp_path / "both.nii.gz", (1, 4, 5), (2, 6, 7))
    moved = AFFINE.copy()
    moved[0, 3] = 8
    elsewhere = save(tmp_path / "elsewhere.nii.gz", (1, 0, 2), affine=moved)
    empty = save(tmp_path / "empty.nii.gz")

    def refused(message: str, *named: tuple[Path, str]) -> None:
        files, names = zip(*named, strict=True)
        with pytest.raises(VolumeError, match=message) as caught:
            read_mask(OrganMasks(files, names), image)
        assert "\n" not in str(caught.value)

    refused(r"spleen.nii.gz: 8 voxels are in liver.nii.gz, too", (liver, ""), (spleen, ""))
    refused(r"'Liver' is in liver.nii.gz, too", (liver, ""), (spleen, "Liver"))
    refused(r"labels 1, 2 and one name", (liver, ""), (both, "other"))
    refused(r"both.nii.gz: labels 1, 2 without names", (liver, ""), (both, ""))
    refused(r"elsewhere.nii.gz: the mask lies up to 8.0 mm away", (liver, ""), (elsewhere, ""))
    refused(r"every mask is empty", (empty, ""), (empty, "other"))


def test_one_label_map_alone_in_a_folder_is_that_label_map(image: ScanFile, tmp_path: Path) -> None:
    save(tmp_path / "map.nii.gz", (1, 0, 2), (4, 5, 6))
    found = read_mask(tmp_path, image)
    assert not found.facts.labels.names and columns(found, 4) == [5]
    assert np.array_equal(found.volume.data, read_volume(tmp_path / "map.nii.gz").volume.data)


def test_masks_on_the_command_line(tmp_path: Path) -> None:
    odd = save(tmp_path / "a=b.nii.gz", (1, 0, 2))
    path = Path("liver.nii.gz")
    assert parse_masks(["liver.nii.gz"], 1, "--m") == (path,)
    assert parse_masks(["liver.nii.gz=liver"], 1, "--m") == (OrganMasks((path,), ("liver",)),)
    both = parse_masks(["liver.nii.gz=liver", "s.nii.gz"], 1, "--m")
    assert both == (OrganMasks((path, Path("s.nii.gz")), ("liver", "")),)
    assert parse_masks([str(odd)], 1, "--m") == (odd,)
    assert parse_masks([f"{odd}=c", "x"], 2, "--m") == (OrganMasks((odd,), ("c",)), Path("x"))
    with pytest.raises(ConfigError, match="2 labelled scans and 3 --m: give one for each scan"):
        parse_masks(["a", "b", "c"], 2, "--m")
    with pytest.raises(ConfigError, match="write it as PATH=NAME"):
        parse_masks(["liver.nii.gz="], 1, "--m")


def test_a_folder_without_a_mask_is_said_to_be_one(image: ScanFile, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(VolumeError, match="no mask lies in this folder"):
        read_mask(tmp_path, image)
