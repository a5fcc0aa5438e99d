"""NRRD and MetaImage: SimpleITK's own geometry as oracle, and files cut short."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dpcenet.errors import VolumeError
from dpcenet.volumes.itk import read_itk, write_itk
from dpcenet.volumes.nifti import read_nifti
from dpcenet.volumes.scan_file import SourceGrid
from phantoms import make_phantom, positions

NAMES = ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"]
LPS = np.array([-1.0, -1.0, 1.0])


def itk_image(shape=(4, 5, 6), flip=False):
    """An oblique image; `flip` makes its axes left-handed."""
    volume, _ = make_phantom(shape)
    lps = LPS[:, None] * volume.affine[:3, [2, 1, 0, 3]]
    if flip:
        lps[:, 0] *= -1
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    data = np.random.default_rng(1).integers(0, 900, size=shape).astype(np.int16)
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:, 3].tolist())
    return image


def saved(path, compressed=False, **how):
    sitk.WriteImage(itk_image(**how), str(path), compressed)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_voxels_lie_where_itk_puts_them(tmp_path, name, compressed, flip):
    volume = read_itk(saved(tmp_path / name, compressed, flip=flip)).volume
    image = itk_image(flip=flip)
    np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(image))
    assert volume.data.dtype == np.int16
    at = positions(volume.data.shape, volume.affine)
    for z, y, x in [(0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (2, 1, 3)]:
        point = LPS * image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(at[z, y, x], point, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image_as_nifti_lies_in_the_same_place(tmp_path, name):
    itk = read_itk(saved(tmp_path / name)).volume
    sitk.WriteImage(itk_image(), str(tmp_path / "a.nii.gz"))
    nifti = read_nifti(tmp_path / "a.nii.gz").volume
    np.testing.assert_array_equal(itk.data, nifti.data)
    np.testing.assert_allclose(itk.affine, nifti.affine, atol=1e-4)  # NIfTI holds float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_is_written_in_the_scans_grid(tmp_path, name, flip):
    scan = read_itk(saved(tmp_path / name, flip=flip))
    grid = SourceGrid.from_json(json.loads(json.dumps(scan.grid.to_json())))
    mask = (scan.volume.data > 400).astype(np.uint8)
    (tmp_path / "out").mkdir()
    write_itk(mask, tmp_path / "out" / name, grid)
    before, after = itk_image(flip=flip), sitk.ReadImage(str(tmp_path / "out" / name))
    assert after.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), mask)
    np.testing.assert_allclose(after.GetOrigin(), before.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(after.GetSpacing(), before.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(after.GetDirection(), before.GetDirection(), atol=1e-9)
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize(
    ("space", "sign"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
    ],
)
def test_nrrd_in_other_spaces(tmp_path, space, sign):
    data = np.arange(24, dtype=np.uint8)
    header = (
        f"NRRD0004\ntype: uchar\ndimension: 3\nspace: {space}\nsizes: 2 3 4\n"
        "space directions: (2,0,0) (0,3,0) (0,0,5)\nkinds: domain domain domain\n"
        "encoding: raw\nspace origin: (7,8,9)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + data.tobytes())
    volume = read_itk(tmp_path / "a.nrrd").volume
    expected = np.diag([*sign, 1]) @ [[0, 0, 2, 7], [0, 3, 0, 8], [5, 0, 0, 9], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected, atol=1e-12)
    np.testing.assert_array_equal(volume.data.ravel(), data)


@pytest.mark.parametrize("space", ["", "space: scanner-xyz\n", "space: 3D-right-handed\n", "LAS"])
def test_a_nrrd_that_does_not_say_where_left_is_is_noted(tmp_path, space):
    said = "space: LAS\n" if space == "LAS" else space
    where = "space directions: (2,0,0) (0,3,0) (0,0,5)\n" if said else "spacings: 2 3 5\n"
    header = f"NRRD0004\ntype: uchar\ndimension: 3\n{said}sizes: 2 3 4\n{where}encoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(24)))
    notes = " ".join(read_itk(tmp_path / "a.nrrd").facts.notes)
    assert ("left and right are a guess" in notes) == (space != "LAS")


def test_a_metaimage_without_a_direction_is_noted(tmp_path):
    sitk.WriteImage(itk_image(), str(tmp_path / "a.mha"))
    content = (tmp_path / "a.mha").read_bytes()
    assert not read_itk(tmp_path / "a.mha").facts.notes
    start = content.index(b"TransformMatrix")
    end = content.index(b"\n", start) + 1
    (tmp_path / "a.mha").write_bytes(content[:start] + content[end:])
    assert "left and right are a guess" in read_itk(tmp_path / "a.mha").facts.notes[0]


def test_formats_mix(tmp_path):
    """A NIfTI scan's mask as NRRD lies where nibabel sees the scan."""
    sitk.WriteImage(itk_image(), str(tmp_path / "a.nii.gz"))
    scan = read_nifti(tmp_path / "a.nii.gz")
    write_itk(scan.volume.data, tmp_path / "m.nrrd", scan.grid)
    image = sitk.ReadImage(str(tmp_path / "m.nrrd"))
    affine = nib.load(tmp_path / "a.nii.gz").affine
    for index in [(0, 0, 0), (5, 4, 3), (2, 0, 1)]:
        expected = affine[:3, :3] @ index + affine[:3, 3]
        found = LPS * image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_a_file_cut_short_is_refused(tmp_path, name, compressed, keep):
    path = saved(tmp_path / name, compressed, shape=(8, 30, 30))
    largest = max(tmp_path.iterdir(), key=lambda p: p.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(VolumeError, match=r"at most|damaged"):
        read_itk(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_header_that_claims_more_is_refused(tmp_path, name):
    path = saved(tmp_path / name, compressed=True)
    content = path.read_bytes()
    for claim in (b"6 5 40", b"60000 50000 4"):
        path.write_bytes(content.replace(b"6 5 4", claim, 1))
        with pytest.raises(VolumeError, match=r"bytes of voxels"):
            read_itk(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_header_that_claims_less_is_refused(tmp_path, name, compressed):
    path = saved(tmp_path / name, compressed)
    path.write_bytes(path.read_bytes().replace(b"6 5 4", b"6 5 3", 1))
    with pytest.raises(VolumeError, match="more than 180 bytes"):
        read_itk(path)


def test_the_cap_is_an_argument(tmp_path):
    path = saved(tmp_path / "a.mha")
    assert read_itk(path, max_bytes=240).volume.data.nbytes == 240
    with pytest.raises(VolumeError, match="claims 240 bytes"):
        read_itk(path, max_bytes=239)


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("a.nrrd", b"encoding: raw", b"encoding: hex", "neither raw nor gzip"),
        ("a.nrrd", b"encoding: raw", b"encoding: raw\nline skip: 2", "skips lines"),
        ("a.nrrd", b"space directions: (", b"space directions: (nan,0,0) (", "cannot be read"),
        ("a.mha", b"BinaryData = True", b"BinaryData = False", "written as text"),
        ("a.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = LIST", "several files"),
        ("a.mha", b"ElementDataFile = LOCAL", b"Element = LOCAL", "no ElementDataFile"),
        ("a.mha", b"NDims = 3", b"NDims = 99", "dimension is 99"),
        ("a.nrrd", b"dimension: 3", b"dimension: 99", "dimension is 99"),
        ("a.mha", b"DimSize = 6 5 4", b"HeaderSize = x\nDimSize = 6 5 4", "HeaderSize"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = b.raw", "b.raw, which is not"),
        ("a.nhdr", b"data file: a.raw", b"data file: b.raw", "b.raw, which is not"),
    ],
)
def test_bad_headers_are_refused_with_the_reason(tmp_path, name, old, new, found):
    path = saved(tmp_path / name)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(VolumeError, match=found) as error:
        read_itk(path)
    assert str(error.value).startswith(f"{path}: ")


def test_other_bad_files(tmp_path):
    with pytest.raises(VolumeError, match="no such file"):
        read_itk(tmp_path / "none.mha")
    (tmp_path / "empty.nrrd").touch()
    with pytest.raises(VolumeError, match="empty"):
        read_itk(tmp_path / "empty.nrrd")
    (tmp_path / "noise.nrrd").write_bytes(b"\x89PNG" * 100)
    with pytest.raises(VolumeError, match="dimension is none"):
        read_itk(tmp_path / "noise.nrrd")
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkInt16), str(tmp_path / "flat.mha"))
    with pytest.raises(VolumeError, match="3-D volume"):
        read_itk(tmp_path / "flat.mha")
    colour = sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)
    sitk.WriteImage(colour, str(tmp_path / "colour.mha"))
    with pytest.raises(VolumeError, match="3 numbers each"):
        read_itk(tmp_path / "colour.mha")


def test_a_sheared_direction_is_refused(tmp_path):
    image = itk_image()
    image.SetDirection((1, 0.2, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(VolumeError, match="sheared"):
        read_itk(tmp_path / "a.mha")
