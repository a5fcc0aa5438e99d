"""NIfTI files: nibabel as oracle for what is read, and every kind of bad file refused."""

import gzip
import json
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from dpcenet.errors import VolumeError
from dpcenet.volumes.nifti import read_nifti, write_nifti
from dpcenet.volumes.scan_file import SourceGrid
from phantoms import make_phantom


def xyz_affine(volume):
    return volume.affine[:, [2, 1, 0, 3]]


def image_of(dtype=np.int16, kind=nib.Nifti1Image, shape=(4, 5, 6)):
    _, labels = make_phantom(shape)
    data = np.random.default_rng(0).integers(0, 90, size=shape[::-1]).astype(dtype)
    return kind(data, xyz_affine(labels))


def saved(image, path):
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_reads_what_nibabel_reads(tmp_path, name, dtype, kind):
    path = saved(image_of(dtype, kind), tmp_path / name)
    volume = read_nifti(path).volume
    assert volume.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.data, np.asarray(nib.load(path).dataobj).T)
    np.testing.assert_allclose(xyz_affine(volume), nib.load(path).affine, atol=1e-12)


def test_big_endian(tmp_path):
    image = image_of()
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    swapped = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, header)
    path = saved(swapped, tmp_path / "a.nii")
    assert path.read_bytes()[:4] == b"\x00\x00\x01\x5c"
    volume = read_nifti(path).volume
    assert volume.data.dtype.isnative
    np.testing.assert_array_equal(volume.data, np.asarray(image.dataobj).T)


def test_scaled_voxels_become_floating(tmp_path):
    image = image_of()
    image.header.set_slope_inter(2.5, -1024)
    path = saved(image, tmp_path / "a.nii")
    volume = read_nifti(path).volume
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, nib.load(path).get_fdata().T, rtol=1e-6)


@pytest.mark.parametrize(("qcode", "scode"), [(1, 0), (0, 2), (1, 1), (0, 0)])
def test_affine_follows_nibabels_choice(tmp_path, qcode, scode):
    image = image_of()
    other = np.diag([2.0, 3.0, 4.0, 1.0])
    image.set_qform(image.affine, qcode)
    image.set_sform(other, scode)
    path = saved(image, tmp_path / "a.nii")
    expected = nib.load(path).affine
    np.testing.assert_allclose(xyz_affine(read_nifti(path).volume), expected, atol=1e-12)


def test_header_extensions_and_trailing_axes_are_passed_over(tmp_path):
    image = image_of()
    four = nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine)
    four.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    path = saved(four, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(path).volume.data, np.asarray(image.dataobj).T)


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("trailing", [False, True])
def test_a_mask_is_written_in_the_scans_grid(tmp_path, name, kind, trailing):
    image = image_of(kind=kind)
    if trailing:
        image = kind(np.asarray(image.dataobj)[..., None], image.affine)
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"Jane Doe"
    scan = read_nifti(saved(image, tmp_path / "scan.nii.gz"))
    grid = SourceGrid.from_json(json.loads(json.dumps(scan.grid.to_json())))
    mask = (scan.volume.data > 40).astype(np.uint8)
    write_nifti(mask, tmp_path / name, grid)

    before, after = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / name)
    assert type(after) is type(before)
    assert after.get_data_dtype() == np.uint8
    assert after.shape == before.shape
    np.testing.assert_array_equal(np.asarray(after.dataobj).T.squeeze(), mask)
    for field in ("qform_code", "sform_code", "xyzt_units"):
        assert after.header[field] == before.header[field]
    np.testing.assert_array_equal(after.get_qform(), before.get_qform())
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    assert "Jane" not in json.dumps(grid.to_json()) and b"Jane" not in after.header.binaryblock
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["scan.nii.gz", name])


def test_a_grid_from_elsewhere_gets_a_plain_header(tmp_path):
    _, labels = make_phantom()
    write_nifti(labels.data, tmp_path / "m.nii.gz", SourceGrid.of(labels))
    read = nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_allclose(read.get_qform(), xyz_affine(labels), atol=1e-4)
    np.testing.assert_allclose(read.get_sform(), xyz_affine(labels), atol=1e-4)
    np.testing.assert_array_equal(np.asarray(read.dataobj).T, labels.data)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    _, labels = make_phantom((4, 5, 6))
    path = tmp_path / "m.nii"
    path.write_bytes(b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_nifti(labels.data, path, SourceGrid.of(labels))
    assert [p.name for p in tmp_path.iterdir()] == ["m.nii"]
    assert path.read_bytes() == b"old"


def header_bytes(shape=(4, 5, 6), code=4, **fields):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header["datatype"], header["bitpix"] = code, {4: 16, 64: 64, 128: 24, 32: 64}[code]
    header.set_sform(np.diag([1.0, 1.0, 2.0, 1.0]), 1)
    header["vox_offset"] = 352
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4)


VOXELS = bytes(4 * 5 * 6 * 2)
WHOLE = gzip.compress(header_bytes() + np.random.default_rng(0).bytes(len(VOXELS)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"hello", "header cannot be read"),
        (b"x" * 1000, "header cannot be read"),
        (gzip.compress(b"hello", mtime=0), "header cannot be read"),
        (header_bytes()[:200], "header cannot be read"),
        (header_bytes(magic=b"ni1") + VOXELS, "not a single-file NIfTI"),
        (header_bytes(datatype=4096) + VOXELS, "header cannot be read"),
        (header_bytes(vox_offset=np.nan) + VOXELS, "header cannot be read"),
        (header_bytes() + VOXELS[:-1], "at most 239"),
        (header_bytes() + VOXELS + b"x", "more than 240 bytes"),
        (gzip.compress(header_bytes() + VOXELS[:-1], mtime=0), "239 bytes of voxels"),
        (gzip.compress(header_bytes() + VOXELS + b"x", mtime=0), "more than 240 bytes"),
        (WHOLE[:-20], "gzip stream is damaged"),
        (WHOLE[:-8] + b"\0" * 8, "gzip stream is damaged"),
        (WHOLE[:100] + bytes(50) + WHOLE[150:], "gzip stream is damaged"),
        (header_bytes((4,)) + VOXELS, r"shape is \(4,\)"),
        (header_bytes((4, 5, 3, 2)) + VOXELS, "2 volumes: 1 volume 1; 2 volume 2.*--split-time"),
        (header_bytes((4, 5, 1, 2, 3)) + VOXELS, r"shape is \(4, 5, 1, 2, 3\)"),
        (header_bytes(dim=[3, 4, -5, 6, 1, 1, 1, 1]) + VOXELS, "shape is"),
        (header_bytes(code=128) + bytes(4 * 5 * 6 * 3), "colour"),
        (header_bytes(code=32) + bytes(4 * 5 * 6 * 8), "complex64"),
        (header_bytes(srow_x=[np.nan, 0, 0, 0]) + VOXELS, "affine is not finite"),
        (header_bytes(srow_x=[0, 0, 0, 0]) + VOXELS, "affine is singular"),
        (header_bytes(srow_x=[1, 0.2, 0, 0]) + VOXELS, "affine is sheared"),
        (header_bytes(xyzt_units=1) + VOXELS, "unit is the metre, and a voxel 2 m long"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, content, found):
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=found) as error:
        read_nifti(path)
    assert str(error.value).startswith(f"{path}: ")
    assert error.value.expected and error.value.remedy


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(VolumeError, match="no such file"):
        read_nifti(tmp_path / "none.nii")
    with pytest.raises(VolumeError, match="folder"):
        read_nifti(tmp_path)


@pytest.mark.parametrize(
    ("shape", "payload"),
    [
        ((1024, 1024, 1000), 400_000),  # claims 8.4 GB, beyond the cap
        ((1024, 1024, 500), 400_000),  # claims 4.2 GB, below it, and beyond what gzip can hold
        ((4, 5, 6), 400_000_000),  # claims little and holds much
    ],
)
def test_a_bomb_is_refused_at_once_with_little_memory(tmp_path, shape, payload):
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header_bytes(shape, code=64))
        for _ in range(payload // 100_000):
            stream.write(bytes(100_000))
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(VolumeError, match="bytes of voxels"):
        read_nifti(path)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 20e6


def test_the_cap_is_an_argument(tmp_path):
    path = saved(image_of(), tmp_path / "a.nii.gz")
    assert read_nifti(path, max_bytes=240).volume.data.nbytes == 240
    with pytest.raises(VolumeError, match="claims 240 bytes"):
        read_nifti(path, max_bytes=239)
