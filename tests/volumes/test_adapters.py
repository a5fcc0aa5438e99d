"""Images of any kind in, masks of the same kind out, at the same millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dpcenet
from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import VolumeError
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.types import Volume
from dpcenet.volumes.adapters import name_of, open_mask, open_scan, same_kind, several
from made import moved

SHAPE, SPACING = (6, 48, 40), (9.0, 4.0, 5.0)
KINDS = [
    *("nibabel", "nibabel MGH", "SimpleITK", "MONAI", "MONAI with a channel", "MONAI in LPS"),
    *("array (X, Y, Z)", "array (Z, Y, X)"),
]


class MetaTensor(torch.Tensor):
    """What MONAI's MetaTensor carries and how it is made, without its transforms."""

    affine: torch.Tensor
    meta: dict[str, Any]
    applied_operations: list[Any]

    @staticmethod
    def __new__(cls, data: Any, meta: Any = None, applied_operations: Any = None) -> MetaTensor:
        made: MetaTensor = torch.as_tensor(data).as_subclass(cls)
        made.meta = dict(meta or {})
        made.affine = torch.as_tensor(made.meta["affine"])
        made.applied_operations = list(applied_operations or [])
        return made


def as_kind(volume: Volume, kind: str, tensor: type = MetaTensor) -> Any:
    """The volume as an image of another library, by that library's own words."""
    xyz = np.ascontiguousarray(volume.data.transpose(2, 1, 0)).astype(np.float32)
    affine = volume.affine[:, [2, 1, 0, 3]]  # index (x, y, z) to RAS+ mm
    if kind == "nibabel":
        return nibabel.Nifti1Image(xyz, affine)
    if kind == "nibabel MGH":
        return nibabel.MGHImage(xyz, affine)
    if kind == "SimpleITK":
        lps = np.diag([-1, -1, 1, 1]) @ affine
        size = np.linalg.norm(lps[:3, :3], axis=0)
        image = sitk.GetImageFromArray(xyz.transpose(2, 1, 0))
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetSpacing(size.tolist())
        image.SetDirection((lps[:3, :3] / size).ravel().tolist())
        return image
    if kind == "array (X, Y, Z)":
        return xyz, affine
    if kind == "array (Z, Y, X)":
        return volume.data, volume.affine
    data = torch.from_numpy(xyz)
    if kind == "MONAI in LPS":
        return tensor(data, meta={"affine": np.diag([-1.0, -1, 1, 1]) @ affine, "space": "LPS"})
    meta = {"affine": torch.from_numpy(affine.copy()), "space": "RAS"}
    return tensor(data[None] if kind == "MONAI with a channel" else data, meta=meta)


def voxels_in_mm(mask: Any) -> dict[tuple[int, ...], int]:
    """Hundredths of RAS mm → label of each labelled voxel, by the image's own library."""
    if isinstance(mask, Volume):
        data, affine = mask.data.transpose(2, 1, 0), mask.affine[:, [2, 1, 0, 3]]
    elif isinstance(mask, tuple):
        data, affine = mask
    elif isinstance(mask, sitk.Image):
        data = sitk.GetArrayFromImage(mask).transpose(2, 1, 0)
        index = np.argwhere(data)
        lps = np.array([mask.TransformIndexToPhysicalPoint(i.tolist()) for i in index])
        return rounded(lps * (-1, -1, 1), data[tuple(index.T)])
    elif isinstance(mask, torch.Tensor):
        data, affine = np.asarray(mask.as_subclass(torch.Tensor)), np.asarray(mask.affine)
        data = data[0] if data.ndim == 4 else data
        if mask.meta["space"] == "LPS":
            affine = np.diag([-1, -1, 1, 1]) @ affine
    else:
        data, affine = np.asarray(mask.dataobj), mask.affine
    index = np.argwhere(data)
    return rounded(nibabel.affines.apply_affine(affine, index), data[tuple(index.T)])


def rounded(places: np.ndarray, values: np.ndarray) -> dict[tuple[int, ...], int]:
    keys = map(tuple, np.rint(places * 10).astype(int).tolist())
    return dict(zip(keys, values.astype(int).tolist(), strict=True))


@pytest.fixture(scope="module")
def case() -> tuple[Volume, Volume]:
    return phantom(1, SHAPE, SPACING, oblique=True)


@pytest.fixture(scope="module")
def plain(copier: Segmenter, case: tuple[Volume, Volume]) -> dict[tuple[int, ...], int]:
    """The labelled voxels where everything is a Volume."""
    image, labels = case
    mask = copier.segment(image, copier.support(image, labels))
    found = voxels_in_mm(mask)
    assert set(found.values()) == {1, 2, 3, 4}
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    permutation=st.permutations(range(3)).map(tuple),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_each_kind_gets_the_same_mask_in_millimetres(
    copier: Segmenter,
    case: tuple[Volume, Volume],
    plain: dict[tuple[int, ...], int],
    kind: str,
    permutation: tuple[int, ...],
    flips: tuple[bool, ...],
) -> None:
    image, labels = case
    query = as_kind(moved(image, permutation, flips), kind)
    truth = as_kind(moved(labels, permutation, flips), kind)
    mask = copier.segment(query, copier.support(as_kind(image, kind), as_kind(labels, kind)))
    assert type(mask) is type(query)
    assert voxels_in_mm(mask) == plain
    # Nothing is lost where image and mask come in an order of their own, either.
    assert voxels_in_mm(copier.segment(image, copier.support(query, truth))) == plain


def test_one_kind_labels_another(
    copier: Segmenter, case: tuple[Volume, Volume], plain: dict[tuple[int, ...], int]
) -> None:
    image, labels = case
    support = copier.support(as_kind(image, "SimpleITK"), as_kind(labels, "nibabel"))
    mask = copier.segment(as_kind(image, "MONAI"), support)
    assert isinstance(mask, MetaTensor) and voxels_in_mm(mask) == plain


def test_a_nibabel_mask_keeps_the_geometry_and_nothing_of_the_patient(
    copier: Segmenter, case: tuple[Volume, Volume], tmp_path: Path
) -> None:
    image, labels = case
    query = as_kind(image, "nibabel")
    query.header.set_sform(query.affine, code="mni")
    query.header.set_qform(query.affine, code="scanner")
    query.header.set_xyzt_units("mm", "sec")
    query.header["descrip"] = b"Jane Doe"
    query.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    mask = copier.segment(query, copier.support(image, labels))
    assert mask.shape == query.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, query.affine)
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert mask.header[name] == query.header[name]
    nibabel.save(mask, tmp_path / "mask.nii")
    assert b"Jane Doe" not in (tmp_path / "mask.nii").read_bytes()
    again = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(mask.dataobj))


def test_a_scaled_nibabel_image_counts_as_scaled(tmp_path: Path) -> None:
    values = np.linspace(-7, 40, 24).reshape(2, 3, 4, 1)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "scaled.nii")
    loaded = nibabel.load(tmp_path / "scaled.nii")
    assert loaded.dataobj.slope != 1
    found = open_scan(loaded).volume.data
    np.testing.assert_allclose(found, values[..., 0].transpose(2, 1, 0), atol=1e-3)


def test_a_simpleitk_mask_lies_exactly_on_its_scan(
    copier: Segmenter, case: tuple[Volume, Volume]
) -> None:
    image, labels = case
    query = as_kind(image, "SimpleITK")
    mask = copier.segment(query, copier.support(image, labels))
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert mask.GetOrigin() == query.GetOrigin() and mask.GetSpacing() == query.GetSpacing()
    assert mask.GetDirection() == query.GetDirection()


def test_a_metatensor_keeps_what_it_carries(case: tuple[Volume, Volume]) -> None:
    image, labels = case
    scan = as_kind(image, "MONAI with a channel")
    scan.meta["filename_or_obj"] = "scan.nii.gz"
    scan.applied_operations.append({"class": "Flip"})
    mask = same_kind(Volume(labels.data.astype(np.uint8), image.affine), scan)
    assert mask.shape == scan.shape and mask.dtype == torch.uint8
    assert mask.meta["filename_or_obj"] == "scan.nii.gz"
    assert mask.applied_operations == scan.applied_operations
    mask.meta["filename_or_obj"] = "mask"
    assert scan.meta["filename_or_obj"] == "scan.nii.gz"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("MONAI")])
def test_monais_own_metatensor(
    copier: Segmenter,
    case: tuple[Volume, Volume],
    plain: dict[tuple[int, ...], int],
    kind: str,
) -> None:
    monai = pytest.importorskip("monai.data", reason="MONAI is not installed")
    query = as_kind(case[0], kind, monai.MetaTensor)
    mask = copier.segment(query, copier.support(*case))
    assert isinstance(mask, monai.MetaTensor) and voxels_in_mm(mask) == plain


def torchio_image(volume: Volume, kind: str) -> Any:
    """The volume as an image of TorchIO, by its own words."""
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed")
    xyz = np.ascontiguousarray(volume.data.transpose(2, 1, 0))
    made = getattr(torchio, kind)
    return made(tensor=torch.from_numpy(xyz)[None], affine=volume.affine[:, [2, 1, 0, 3]])


def test_torchios_own_images(
    copier: Segmenter, case: tuple[Volume, Volume], plain: dict[tuple[int, ...], int]
) -> None:
    image, labels = torchio_image(case[0], "ScalarImage"), torchio_image(case[1], "LabelMap")
    mask = copier.segment(image, copier.support(image, labels))
    assert type(mask).__name__ == "LabelMap"
    found = mask.data.numpy()[0]
    assert voxels_in_mm((found, mask.affine)) == plain
    share = same_kind(Volume(case[0].data.astype(np.float32), case[0].affine), image)
    assert type(share).__name__ == "ScalarImage"


def test_a_subject_of_torchio_gets_a_label_map(
    copier: Segmenter, case: tuple[Volume, Volume], plain: dict[tuple[int, ...], int]
) -> None:
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed")
    image, labels = torchio_image(case[0], "ScalarImage"), torchio_image(case[1], "LabelMap")
    subject = torchio.Subject(t2=image, drawn=labels, age=61)
    found = copier.segment(subject, copier.support(subject, subject))
    assert isinstance(found, torchio.Subject) and set(found) == {*subject, "segmentation"}
    mask = found["segmentation"]
    assert voxels_in_mm((mask.data.numpy()[0], mask.affine)) == plain
    two = torchio.Subject(t1=image, t2=image, drawn=labels)
    with pytest.raises(VolumeError, match="2 images of kind ScalarImage: t1, t2"):
        open_scan(two)
    channels = torchio.ScalarImage(tensor=torch.zeros(2, 3, 4, 5))
    with pytest.raises(VolumeError, match="2 channels"):
        open_scan(channels)


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (np.zeros((3, 4, 5)), "ndarray has no place in the patient.*dpcenet.Volume"),
        (torch.zeros(3, 4, 5), "Tensor has no place"),
        (sitk.Image([3, 4], sitk.sitkInt16), "2 axes"),
        (sitk.Image([3, 4, 5], sitk.sitkVectorFloat32, 2), "2 numbers each"),
        (nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), r"\(2, 5, 4, 3\)"),
        (nibabel.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), "real numbers"),
        (MetaTensor(torch.zeros(2, 3, 4, 5), meta={"affine": np.eye(4)}), "3-D array"),
        ((np.zeros((3, 4, 5)), np.zeros((3, 3))), "tuple has no place"),
        (Volume(np.zeros((3, 4, 5)), np.full((4, 4), np.nan)), "not finite"),
        (Volume(np.zeros((3, 0, 5)), np.eye(4)), "3-D array"),
    ],
)
def test_what_is_no_scan_is_refused(scan: Any, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        open_scan(scan)


def test_foreign_units_are_refused() -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4))
    image.header.set_xyzt_units("micron")
    with pytest.raises(VolumeError, match="lengths are in micron"):
        open_scan(image)


def test_an_image_is_one_scan_and_a_list_is_several(case: tuple[Volume, Volume]) -> None:
    for kind in KINDS:
        image = as_kind(case[0], kind)
        assert [id(each) for each in several(image)] == [id(image)]
        assert len(several([image, "scan.nii.gz"])) == 2
        assert name_of(image) == "the array"
    assert several("scan.nii.gz") == ["scan.nii.gz"] and name_of(Path("a.nii")) == "a.nii"


def test_a_series_and_a_seg_as_support(
    copier: Segmenter,
    case: tuple[Volume, Volume],
    plain: dict[tuple[int, ...], int],
    tmp_path: Path,
) -> None:
    """The labelled scan as DICOM, its mask as NIfTI on the same grid or as SEG."""
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dpcenet.volumes.dicom.find_series import find_series
    from dpcenet.volumes.dicom.segment_descriptions import Algorithm
    from dpcenet.volumes.dicom.write_seg import write_seg
    from raw_layouts import write_dicom, write_nifti

    image, labels = case
    whole = Volume(image.data.round().astype(np.int16), image.affine)
    write_dicom(whole, tmp_path / "scan", order=[3, 0, 5, 1, 4, 2])
    scan = open_scan(tmp_path / "scan")
    nifti = write_nifti(labels, tmp_path / "labels.nii.gz")
    seg = tmp_path / "labels.dcm"
    write_seg(labels.data, seg, scan, {}, Algorithm("0", "test"))
    (series,) = find_series(tmp_path / "scan")
    expected = voxels_in_mm(labels)
    for mask in (nifti, seg, str(seg)):
        found = open_mask(mask, scan)
        assert voxels_in_mm(found) == expected
        support = copier.support(series, mask)
        assert voxels_in_mm(copier.segment(image, support)) == plain
    mask = copier.segment(tmp_path / "scan", copier.support(image, labels))
    assert isinstance(mask, Volume) and voxels_in_mm(mask) == plain


def test_a_series_in_a_folder_gets_a_seg(
    copier: Segmenter,
    case: tuple[Volume, Volume],
    plain: dict[tuple[int, ...], int],
    tmp_path: Path,
) -> None:
    """One that a SEG cannot refer to gets NIfTI."""
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dpcenet.segmentation.queries import find_queries
    from dpcenet.segmentation.segment_options import SegmentOptions
    from made_scans import segment_files
    from raw_layouts import write_dicom

    image, labels = case
    whole = Volume(image.data.round().astype(np.int16), image.affine)
    files = write_dicom(whole, tmp_path / "in" / "named")
    for path in write_dicom(whole, tmp_path / "in" / "plain"):
        anonymous = pydicom.dcmread(path)
        del anonymous.FrameOfReferenceUID
        anonymous.save_as(path)
    options = SegmentOptions(tmp_path / "out")
    queries = find_queries([tmp_path / "in"])
    support = copier.support(image, labels)
    outcomes = segment_files(copier, queries, support, options)
    masks = [outcome.mask for outcome in outcomes]
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert [mask.name for mask in masks if mask] == ["named_seg.dcm", "plain_seg.nii.gz"]
    for mask in masks:
        assert mask is not None and voxels_in_mm(open_scan(mask).volume) == plain
    made = pydicom.dcmread(masks[0]).SegmentSequence[0]
    maker = made.SegmentationAlgorithmIdentificationSequence[0]
    assert maker.AlgorithmVersion.startswith(f"{dpcenet.__version__}+Copy ")
    assert find_queries([files[2]])[0].mask_name == Path("named_seg.dcm")


def test_a_series_that_no_seg_can_be_made_for_gets_nifti(
    copier: Segmenter,
    case: tuple[Volume, Volume],
    plain: dict[tuple[int, ...], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason is kept, and the mask is found again by the next run."""
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dpcenet.segmentation.queries import find_queries
    from dpcenet.segmentation.segment_options import SegmentOptions
    from dpcenet.volumes import write_masks
    from made_scans import segment_files
    from raw_layouts import write_dicom

    def refused(_mask: object, path: Path, *_: object, **__: object) -> None:
        raise VolumeError(path, "a header beyond repair", "another one", "Write NIfTI.")

    monkeypatch.setattr(write_masks, "write_seg", refused)
    image, labels = case
    whole = Volume(image.data.round().astype(np.int16), image.affine)
    write_dicom(whole, tmp_path / "in")
    options, support = SegmentOptions(tmp_path / "out"), copier.support(image, labels)
    queries = find_queries([tmp_path / "in"])
    (first,) = segment_files(copier, queries, support, options)
    assert first.mask is not None and first.mask.name == "in_seg.nii.gz" and not first.error
    assert first.facts["notes"] == ["no DICOM SEG: a header beyond repair"]
    assert voxels_in_mm(open_scan(first.mask).volume) == plain
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"in_seg.nii.gz", "in_seg.nii.gz.json", "segment.json"}
    (again,) = segment_files(copier, queries, support, options)
    assert again.skipped and again.mask == first.mask
