"""Files that lie, lead elsewhere or cannot be opened: one line of ours, and little memory."""

from __future__ import annotations

import gzip
import logging
import os
import re
import resource
import socket
import tracemalloc
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.dicom.find_series import find_series
from dpcenet.volumes.dicom.headers import is_dicom
from dpcenet.volumes.intensities import check_intensities, holds_labels
from dpcenet.volumes.io import files_of, read_volume
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels
from dpcenet.volumes.write_masks import write_mask
from phantoms import make_phantom

SHAPE = (5, 30, 20)


def itk_pair(folder, name="a.mhd"):
    """A header with its voxels beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(data), str(folder / name))
    return folder / name, folder / "a.raw"


@pytest.mark.parametrize(
    ("name", "key"), [("a.mhd", b"ElementDataFile = "), ("a.nhdr", b"data file: ")]
)
@pytest.mark.parametrize("lead", ["../b/a.raw", "{}/b/a.raw", "x/../../b/a.raw", "..\\b\\a.raw"])
def test_voxels_outside_the_headers_folder_are_refused(tmp_path, name, key, lead):
    path, voxels = itk_pair(tmp_path / "a", name)
    (tmp_path / "b").mkdir()
    voxels.rename(tmp_path / "b" / "a.raw")
    content = path.read_bytes()
    assert key + b"a.raw" in content
    path.write_bytes(content.replace(key + b"a.raw", key + lead.format(tmp_path).encode()))
    with pytest.raises(VolumeError, match="outside the header's folder"):
        read_volume(path)


@pytest.mark.parametrize(
    ("name", "key"), [("a.mhd", b"ElementDataFile = "), ("a.nhdr", b"data file: ")]
)
def test_a_data_file_that_is_named_twice_is_refused(tmp_path, name, key):
    """Two programs might open two files."""
    path, _ = itk_pair(tmp_path, name)
    content = path.read_bytes()
    for more in (key.lower(), key.replace(b" = ", b"=").replace(b" f", b"f")):
        path.write_bytes(content.replace(key, more + b"b.raw\n" + key, 1))
        with pytest.raises(VolumeError, match=r"twice|spelled|not there"):
            read_volume(path)


@pytest.mark.parametrize(("name", "field"), [("a.mha", "NDims = 3"), ("a.nrrd", "dimension: 3")])
def test_a_field_that_is_there_twice_is_refused(tmp_path, name, field):
    """ITK takes the first one, and crashes on 65535 axes."""
    path, _ = itk_pair(tmp_path, name)
    content = path.read_bytes()
    assert field.encode() in content
    for more in (field, field.replace("3", "65535")):
        path.write_bytes(content.replace(field.encode(), f"{more}\n{field}".encode(), 1))
        with pytest.raises(VolumeError, match=r"its header has .* twice"):
            read_volume(path)


def test_a_data_file_with_an_endless_name(tmp_path):
    path, _ = itk_pair(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"a.raw", b"A" * 300))
    with pytest.raises(VolumeError, match="which is not there"):
        read_volume(path)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_all_that_is_read_is_known(tmp_path, name):
    path, voxels = itk_pair(tmp_path, name)
    assert files_of(path) == (path, voxels)
    assert files_of(tmp_path / "b.nii.gz") == (tmp_path / "b.nii.gz",)


def test_a_query_with_other_voxels_is_another_query(tmp_path):
    from dpcenet.data.prepare_case import source_hash
    from dpcenet.segmentation.queries import find_queries

    path, voxels = itk_pair(tmp_path)
    (query,) = find_queries([path])
    before, source = query.digest(), source_hash(path)
    content = bytearray(voxels.read_bytes())
    content[10] ^= 1
    voxels.write_bytes(content)
    assert query.digest() != before and source_hash(path) != source


@pytest.mark.parametrize("spacing", [b"1 1 -1", b"1 0 1", b"nan 1 1"])
def test_spacings_that_are_none(tmp_path, spacing):
    path, _ = itk_pair(tmp_path, "a.mha")
    content = path.read_bytes()
    assert b"ElementSpacing = 1 1 1" in content
    path.write_bytes(content.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = " + spacing))
    with pytest.raises(VolumeError, match=r"spacing is|singular|finite|cannot be read"):
        read_volume(path)


def nifti_with(folder, **fields):
    """A NIfTI file whose header says something else; without an sform unless it is given."""
    image, _ = make_phantom(SHAPE)
    path = folder / "a.nii"
    nib.save(nib.Nifti1Image(image.data.T.astype(np.int16), image.affine[:, [2, 1, 0, 3]]), path)
    header = nib.Nifti1Header(path.read_bytes()[:348], check=False)
    for name, value in {"sform_code": 0, **fields}.items():
        header[name] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    return path


@pytest.mark.parametrize("code", [0, 1])
def test_nifti_voxels_without_a_size_are_refused_in_one_line(tmp_path, capfd, code):
    """nibabel takes 1 mm and prints so."""
    path = nifti_with(tmp_path, qform_code=code, pixdim=[1, 1.5, 0, 3, 0, 0, 0, 0])
    with pytest.raises(VolumeError, match=r"cannot be read \(voxels of 1\.5 × 0 × 3 mm\)"):
        read_volume(path)
    placed = nifti_with(tmp_path, sform_code=1, pixdim=[1, 1.5, 0, 3, 0, 0, 0, 0])
    assert read_volume(placed).volume.data.shape == SHAPE  # the sform has the sizes
    analyze = nib.AnalyzeImage(np.zeros((5, 6, 7), np.int16), np.eye(4))
    nib.save(analyze, tmp_path / "b.img")
    header = bytearray((tmp_path / "b.hdr").read_bytes())
    header[80:92] = bytes(12)
    (tmp_path / "b.hdr").write_bytes(header)
    with pytest.raises(VolumeError, match="voxels of 0 × 0 × 0 mm"):
        read_volume(tmp_path / "b.hdr")
    assert capfd.readouterr().err == ""


def test_what_nibabel_mends_is_not_printed(tmp_path, capfd, monkeypatch):
    """Outside of pytest no log has a handler, and Python itself prints warnings then."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    path = nifti_with(tmp_path, sform_code=1, pixdim=[1, -1.5, 2, 3, 0, 0, 0, 0])
    assert read_volume(path).volume.data.shape == SHAPE
    for offset in (-5.0, np.nan):
        with pytest.raises(VolumeError, match="header cannot be read"):
            read_volume(nifti_with(tmp_path, vox_offset=offset))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("code", "kept"), [(4, 2), (7, 2), (58 + 64, 2), (255, 2), (10, 10)])
def test_units_that_are_none_count_as_mm(tmp_path, code, kept):
    read = read_volume(nifti_with(tmp_path, xyzt_units=code, sform_code=1))
    assert np.allclose(read.volume.spacing, make_phantom(SHAPE)[0].spacing)
    assert read.grid.header["xyzt_units"] == kept
    assert bool(read.facts.notes) == (code % 8 not in (0, 1, 2, 3))
    assert all("taken as mm" in note for note in read.facts.notes)
    write_mask(np.ones(SHAPE, np.uint8), tmp_path / "m.nii", read.grid)
    assert nib.load(tmp_path / "m.nii").header.get_xyzt_units()[0] == "mm"


def test_a_scan_beyond_every_scanner_is_refused(tmp_path):
    path = nifti_with(tmp_path, sform_code=1, srow_y=[0, 1, 0, 1e30])
    with pytest.raises(VolumeError, match=r"first voxel lies at .* 1e\+30 .* mm"):
        read_volume(path)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (b'space units: "inch" "inch" "inch"', "units are inch, inch, inch"),
        (b'space units: "mm" "m" "mm"', "units are mm, m, mm"),
        (b'space units: "m" "m" "m"', "unit is the metre, and a voxel 3 m long"),
        (b"space directions: none (0,1,0) (0,0,3)", "an axis has no direction"),
    ],
)
def test_nrrd_lengths_that_are_no_millimetres(tmp_path, field, message):
    head = (
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nspace: left-posterior-superior\n"
        b"space origin: (0,0,0)\nendian: little\nencoding: raw\n"
    )
    space = b"space directions: (1,0,0) (0,1,0) (0,0,3)\n"
    voxels = np.arange(120, dtype="<i2").tobytes()
    path = tmp_path / "a.nrrd"
    path.write_bytes(head + space + b'space units: "mm" "mm" "mm"\n\n' + voxels)
    assert read_volume(path).volume.spacing == (3.0, 1.0, 1.0)
    lines = field if b"directions" in field else space + field
    path.write_bytes(head + lines + b"\n\n" + voxels)
    with pytest.raises(VolumeError, match=message):
        read_volume(path)


def test_metaimage_without_a_spacing_is_taken_as_1_mm_which_is_noted(tmp_path):
    path, _ = itk_pair(tmp_path, "a.mha")
    content = path.read_bytes()
    assert not read_volume(path).facts.notes
    path.write_bytes(content.replace(b"ElementSpacing = 1 1 1\n", b""))
    assert "taken as 1 mm" in read_volume(path).facts.notes[0]
    for right, wrong, message in (
        (b"ElementSpacing", b"elementspacing", "spelled 'ElementSpacing'"),
        (b"Offset = 0 0 0", b"Offset = nan 0 0", "Offset is nan 0 0"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 x 1", "ElementSpacing is 1 x 1"),
    ):
        assert right in content
        path.write_bytes(content.replace(right, wrong))
        with pytest.raises(VolumeError, match=message):
            read_volume(path)
    path.write_bytes(content.replace(b"NDims = 3", b"NDims = 4"))
    with pytest.raises(VolumeError, match="axes: 4, lengths: 3"):
        read_volume(path)


@pytest.mark.parametrize(
    ("line", "mm", "said"),
    [
        ("DistanceUnits = um", 0.001, ["lengths became mm"]),
        ("DistanceUnits = cm", 10, ["lengths became mm"]),
        ("DistanceUnits = mm", 1, []),
        ("DistanceUnits = ?", None, "the header's units are ?"),
        ("ElementToIntensityFunctionSlope = 2", 1, ["not applied"]),
        ("ElementToIntensityFunctionOffset = -1024", 1, ["not applied"]),
        ("ElementToIntensityFunctionSlope = 1.0", 1, []),
        ("ElementToIntensityFunctionSlope = x", None, "ElementToIntensityFunctionSlope is x"),
    ],
)
def test_metaimage_says_what_itk_does_not_do(tmp_path, line, mm, said):
    path, _ = itk_pair(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"DimSize", line.encode() + b"\nDimSize"))
    if mm is None:
        with pytest.raises(VolumeError, match=re.escape(said)):
            read_volume(path)
        return
    found = read_volume(path)
    assert found.volume.spacing == pytest.approx((mm, mm, mm))
    assert [any(word in note for word in said) for note in found.facts.notes] == [True] * len(said)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"Comment = " + b"x" * 200_000 + b"\n", "a line of its header has 100,000 bytes"),
        (b"".join(b"k%d:=1\n" % i for i in range(10_001)), "more than 10,000 lines"),
    ],
)
def test_headers_that_hardly_end(tmp_path, name, lines, message):
    path, _ = itk_pair(tmp_path, name)
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n" + lines + rest)
    with pytest.raises(VolumeError, match=message):
        read_volume(path)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_a_packed_file_of_one_value_is_seen_before_itk_reads_it(tmp_path, suffix):
    n = 80 * 2**20 // 2
    packed = zlib.compress(np.full(n, -7, "<i2").tobytes(), 1)
    head = {
        "nrrd": b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1024 1024 40\nendian: little\n"
        b"encoding: gzip\nspacings: 1 1 3\n\n",
        "mha": b"ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\n"
        b"CompressedDataSize = %d\nElementSpacing = 1 1 3\nDimSize = 1024 1024 40\n"
        b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n" % len(packed),
    }[suffix]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(head + packed)
    tracemalloc.start()
    with pytest.raises(VolumeError, match="all 41,943,040 voxels have the same value"):
        read_volume(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 20 * 2**20


def test_a_large_scan_of_almost_one_value_is_refused_before_it_is_prepared():
    data = np.zeros((70, 1024, 1024), np.uint8)
    data[0, 0, :300] = np.arange(300) % 250
    with pytest.raises(VolumeError, match=r"99\.99% of the voxels have one value"):
        check_intensities(Volume(data, np.eye(4)), "scan")


@pytest.mark.parametrize("high", [1e31, 1e300])
def test_values_beyond_32_bits_are_refused(high):
    image, _ = make_phantom(SHAPE)
    data = image.data.astype(np.float64)
    data[2, 3, 4] = high
    with pytest.raises(VolumeError, match=r"values from .* to 1e\+3"):
        check_intensities(Volume(data, image.affine), "scan")
    data[2, 3, 4] = 1e29
    check_intensities(Volume(data, image.affine), "scan")
    prepared, _ = preprocess(Volume(data, image.affine), Preprocessing(clip_percentile=None))
    assert np.isfinite(prepared.image).all()


@pytest.mark.parametrize("kind", [np.uint64, np.float64])
def test_differences_that_32_bits_lose_are_refused(kind):
    """Nothing of the body would be left once the values are 32-bit numbers."""
    image, _ = make_phantom(SHAPE)
    large = image.data.astype(kind) - kind(image.data.min()) + kind(2.0**58)
    with pytest.raises(VolumeError, match=r"values from 2.88.* tiny differences"):
        check_intensities(Volume(large, image.affine), "scan")
    check_intensities(Volume(image.data.astype(np.float64) + 1e5, image.affine), "scan")


def test_a_scan_of_nan_takes_little_memory():
    data = np.full((40, 256, 256), np.nan, np.float32)
    tracemalloc.start()
    with pytest.raises(
        VolumeError, match=r"2,621,440 NaN or infinite voxels, .* z=0, y=0, x=0 .*--fix"
    ):
        check_intensities(Volume(data, np.eye(4)), "scan")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


def test_gigabytes_of_one_value_are_refused_by_their_header(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 1500))
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), 1)
    with gzip.open(tmp_path / "a.nii.gz", "wb", compresslevel=1) as stream:
        stream.write(header.binaryblock + bytes(4))
    with (tmp_path / "a.nii.gz").open("ab") as file:
        file.write(b"\0" * 1_500_000)  # as much as 1.5 GB of zeros would take
    with pytest.raises(VolumeError, match="almost every voxel has the same value"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("marked", [False, True])
def test_one_value_everywhere_is_seen_before_it_is_kept(tmp_path, marked):
    header = nib.Nifti1Header()
    header.set_data_shape((200, 200, 500))
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), 1)
    blank = np.full((500, 200 * 200), np.nan, np.float32)
    if marked:  # a small structure in a large mask
        blank[:] = 0
        blank[250, :3] = 1
    with gzip.open(tmp_path / "a.nii.gz", "wb", compresslevel=9) as stream:
        stream.write(header.binaryblock + bytes(4))
        stream.write(blank.tobytes())
    assert (tmp_path / "a.nii.gz").stat().st_size * 900 < blank.nbytes
    if marked:
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").volume.data.sum(), 3)
        return
    del blank
    tracemalloc.start()
    with pytest.raises(VolumeError, match="all 20,000,000 voxels have the same value, or none"):
        read_volume(tmp_path / "a.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("value", [0.99999, 1.0009])
def test_labels_that_are_nearly_whole_are_whole(value):
    image, labels = make_phantom(SHAPE)
    nearly = Volume(np.where(labels.data == 1, value, labels.data), labels.affine)
    np.testing.assert_array_equal(check_mask(nearly, image, "m"), labels.data)
    _, record = preprocess(image, Preprocessing(size=64))
    np.testing.assert_array_equal(
        preprocess_labels(nearly, record), preprocess_labels(labels, record)
    )
    assert holds_labels(nearly.data)


@pytest.mark.parametrize("value", [0.99, 1.002, -0.5])
def test_labels_that_are_not_whole_are_refused(value):
    image, labels = make_phantom(SHAPE)
    wrong = Volume(np.where(labels.data == 1, value, labels.data), labels.affine)
    with pytest.raises(VolumeError, match="no whole numbers"):
        check_mask(wrong, image, "m")
    assert not holds_labels(wrong.data)


def sock(path):
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is 108 bytes at most
    try:
        server.bind(path.name)
    finally:
        os.chdir(here)
        server.close()


ODD = {
    "a pipe": os.mkfifo,
    "a socket": sock,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
}


@pytest.mark.parametrize("how", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.dcm", "a.zip", "a.png", "a.mgz", "a"])
def test_what_is_no_file_is_named(tmp_path, how, name):
    how(tmp_path / name)
    with pytest.raises(VolumeError) as error:
        read_volume(tmp_path / name)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
    assert not is_dicom(tmp_path / name)
    if name != "a.dcm":
        assert find_series(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".nii", "a\0b.nii", "x" * 5000])
def test_names_that_no_disk_holds(tmp_path, name):
    with pytest.raises(VolumeError, match=r"cannot be re|no such file"):
        read_volume(tmp_path / name)


def test_a_name_that_is_no_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.nii"))
    path.write_bytes(b"hello")
    with pytest.raises(VolumeError, match="header cannot be read") as error:
        read_volume(path)
    assert "caf\\udce9.nii" in str(error.value)
    str(error.value).encode("utf-8")  # it can be printed
    for suffix in (".mha", ".dcm", ".png", ".mgz", ".zip", ".hdr"):
        other = path.with_suffix(suffix)
        other.write_bytes(b"hello")
        with pytest.raises(VolumeError):
            read_volume(other)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission(tmp_path):
    path, _ = itk_pair(tmp_path, "a.mha")
    path.chmod(0)
    with pytest.raises(VolumeError, match="Permission denied"):
        read_volume(path)
    (tmp_path / "closed").mkdir(mode=0)
    for wanted in (tmp_path / "closed", tmp_path / "closed" / "a.nii"):
        with pytest.raises(VolumeError, match="Permission denied"):
            read_volume(wanted)


def test_a_permission_error_of_a_reader_is_named(tmp_path, monkeypatch):
    """As root sees none, it is made."""
    path, _ = itk_pair(tmp_path, "a.mha")

    def closed(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(VolumeError, match=r"a\.mha: cannot be read \(Permission denied\)"):
        read_volume(path)


def test_a_deflated_file_that_would_fill_the_memory(tmp_path):
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian, MRImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, "1.2.3"
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, "1.2.3"
    file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    content = (tmp_path / "a.dcm").read_bytes()
    head = content[: 132 + 12 + int.from_bytes(content[140:144], "little")]
    packer = zlib.compressobj(wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(700)) + packer.flush()
    (tmp_path / "a.dcm").write_bytes(head + bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VolumeError, match="inflates to more than 536,870,912 bytes"):
        read_volume(tmp_path / "a.dcm")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
