"""Which files are queries, and where their masks go."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dpcenet.errors import DatasetError, VolumeError
from dpcenet.segmentation.queries import find_queries
from dpcenet.volumes.intensities import holds_labels
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions
from made_scans import write_scans
from raw_layouts import made_case, write_dicom


def write(path: Path, data: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return path


def scan(path: Path, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    return write(path, random.integers(0, 900, (12, 12, 5)).astype(np.int16))


def mask(path: Path) -> Path:
    data = np.zeros((12, 12, 5), np.uint8)
    data[3:6, 3:6, 2] = 2
    return write(path, data)


def names(folder: Path, **options: object) -> list[str]:
    return [str(q.mask_name) for q in find_queries([folder], **options)]  # type: ignore[arg-type]


def test_a_folder_of_pairs_gives_its_images_only(tmp_path: Path) -> None:
    write_scans(tmp_path, 2)
    assert names(tmp_path) == ["image_01_seg.nii.gz", "image_02_seg.nii.gz"]


def test_a_nested_folder_keeps_its_shape_and_masks_are_left_out(tmp_path: Path) -> None:
    scan(tmp_path / "a" / "T2.nii.gz")
    scan(tmp_path / "b" / "deep" / "T2.nii")
    mask(tmp_path / "a" / "T2_seg.nii.gz")
    mask(tmp_path / "b" / "labelsTr" / "T2.nii.gz")
    mask(tmp_path / "a" / "liver-mask.nii.gz")
    scan(tmp_path / "a" / ".hidden.nii.gz")
    (tmp_path / "a" / "notes.txt").write_text("no scan")
    assert names(tmp_path) == ["a/T2_seg.nii.gz", "b/deep/T2_seg.nii"]


def test_a_scan_that_is_only_named_like_a_mask_is_taken(tmp_path: Path) -> None:
    scan(tmp_path / "seg_07.nii.gz")
    scan(tmp_path / "segovia.nii.gz")
    assert names(tmp_path) == ["seg_07_seg.nii.gz", "segovia_seg.nii.gz"]


def test_a_mask_that_is_named_is_refused_with_the_reason(tmp_path: Path) -> None:
    (query,) = find_queries([mask(tmp_path / "label_01.nii.gz")])
    with pytest.raises(VolumeError, match=r"label_01\.nii\.gz: this is a mask"):
        query.read()


def test_pattern_chooses_by_name_or_by_path(tmp_path: Path) -> None:
    for name in ("p1/T1.nii.gz", "p1/T2.nii.gz", "p2/T2.nii.gz"):
        scan(tmp_path / name)
    assert names(tmp_path, pattern="T2*") == ["p1/T2_seg.nii.gz", "p2/T2_seg.nii.gz"]
    assert names(tmp_path, pattern="p1/*") == ["p1/T1_seg.nii.gz", "p1/T2_seg.nii.gz"]
    with pytest.raises(DatasetError, match="fits 'CT'"):
        find_queries([tmp_path], pattern="CT")


def test_a_glob_keeps_what_lies_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("p1/T1.nii.gz", "p1/T2.nii.gz", "p2/T2.nii.gz"):
        scan(tmp_path / name)
    found = find_queries([f"{tmp_path}/*/T2.nii.gz", tmp_path / "p1" / "T1.nii.gz"])
    expected = ["p1/T2_seg.nii.gz", "p2/T2_seg.nii.gz", "T1_seg.nii.gz"]
    assert [str(query.mask_name) for query in found] == expected
    with pytest.raises(DatasetError, match="no scan found"):
        find_queries([f"{tmp_path}/*/CT*"])


def test_a_scan_named_twice_is_taken_once(tmp_path: Path) -> None:
    path = scan(tmp_path / "T2.nii.gz")
    assert len(find_queries([path, tmp_path, path])) == 1


def test_results_in_the_searched_folder_are_no_queries(tmp_path: Path) -> None:
    scan(tmp_path / "T2.nii.gz")
    scan(tmp_path / "out" / "T2_seg.nii.gz")
    assert names(tmp_path, out=tmp_path / "out") == ["T2_seg.nii.gz"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no scan found"):
        find_queries([tmp_path])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.arange(8) % 4, True),
        (np.arange(8) % 4 + 0.5, False),
        (np.array([0.0, 1.0, np.nan]), False),
        (np.array([-1, 0, 1]), False),
        (np.arange(300), False),
    ],
)
def test_labels_are_few_whole_numbers(data: np.ndarray, expected: bool) -> None:
    assert holds_labels(data) is expected


def test_a_dicom_folder_is_one_query(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    uid = pydicom.uid.generate_uid
    for z in range(3):
        header = pydicom.dataset.FileMetaDataset()
        header.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        header.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        header.MediaStorageSOPInstanceUID = uid(entropy_srcs=["slice", str(z)])
        slice_ = pydicom.Dataset()
        slice_.file_meta = header
        slice_.SOPClassUID = header.MediaStorageSOPClassUID
        slice_.SOPInstanceUID = header.MediaStorageSOPInstanceUID
        slice_.SeriesInstanceUID = uid(entropy_srcs=["series"])
        slice_.Modality = "MR"
        slice_.ImagePositionPatient, slice_.PixelSpacing = [0, 0, 5 * z], [2, 2]
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.Rows = slice_.Columns = 8
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 0
        slice_.PixelData = np.full((8, 8), 10 * z, np.uint16).tobytes()
        place = tmp_path / "patient" / "series7"
        place.mkdir(parents=True, exist_ok=True)
        slice_.save_as(place / f"{z}.dcm", enforce_file_format=True)
    (query,) = find_queries([tmp_path])
    assert str(query.mask_name) == "patient/series7/series7_seg.nii.gz"
    volume = query.read().volume
    assert volume.data[:, 0, 0].tolist() == [0, 10, 20]
    np.testing.assert_allclose(volume.spacing, (5, 2, 2))


def test_each_volume_of_a_4d_scan_is_a_query(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 11, dtype=np.int16).reshape(2, 3, 4, 11)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "cine.nii.gz")
    nibabel.save(nibabel.Nifti1Image(data[..., 0], np.eye(4)), tmp_path / "still.nii")
    (tmp_path / "bad.nii").write_bytes(b"no scan")
    queries = find_queries([tmp_path], split=True)
    names = [str(query.mask_name) for query in queries]
    cine = [f"cine_{n:02d}_seg.nii.gz" for n in range(1, 12)]
    assert names == ["bad_seg.nii", *cine, "still_seg.nii"]
    np.testing.assert_array_equal(queries[3].read().volume.data, data[..., 2].T)
    assert len({query.digest() for query in queries[1:]}) == 12
    (whole,) = find_queries([tmp_path / "cine.nii.gz"])
    assert whole.options == AS_IT_IS


def test_echoes_of_a_series_are_queries(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    image, _ = made_case()
    for number, path in enumerate(write_dicom(image, tmp_path / "dual")):
        for echo, time in enumerate((2.3, 4.6)):
            file = pydicom.dcmread(path)
            file.EchoTime = time
            file.SOPInstanceUID = f"1.2.{echo}.{number}"
            file.PixelData = (image.data[number] + echo).tobytes()
            file.save_as(tmp_path / "dual" / f"{echo}{number}")
        path.unlink()
    one, two = find_queries([tmp_path / "dual"], split=True)
    assert [one.name.name, two.name.name] == ["dual_echo_2.3_ms", "dual_echo_4.6_ms"]
    np.testing.assert_array_equal(two.read().volume.data, image.data + 1)
    assert one.digest() != two.digest()
    (chosen,) = find_queries([tmp_path / "dual"], options=ReadOptions(part="4.6"))
    np.testing.assert_array_equal(chosen.read().volume.data, image.data + 1)


def test_a_folder_of_pictures_is_a_query(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pngs").mkdir()
    for z in range(3):
        Image.fromarray(np.full((5, 6), z, np.uint8)).save(tmp_path / "pngs" / f"{z}.png")
    (query,) = find_queries([tmp_path / "pngs"], options=ReadOptions(spacing=(5.0, 1.0, 2.0)))
    assert str(query.mask_name) == "pngs_seg.nii.gz"
    assert query.read().volume.spacing == (5.0, 1.0, 2.0) and query.digest()
