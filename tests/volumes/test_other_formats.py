"""FreeSurfer, Analyze, 4-D files, pictures and zips, as nibabel, Pillow and zipfile write them."""

from __future__ import annotations

import contextlib
import io
import stat
import tracemalloc
import zipfile

import nibabel as nib
import numpy as np
import pytest
from nibabel.spm99analyze import Spm99AnalyzeImage
from PIL import Image

from phantoms import make_phantom

pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes.io import files_of, mask_suffix, read_volume, stem
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.masks import read_mask
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions, parse_options
from raw_layouts import made_case, write_dicom, write_nifti

SHAPE = (5, 30, 20)


def phantom():
    image, labels = make_phantom(SHAPE)
    return Volume((image.data * 10).astype(np.int16), image.affine), labels


def xyz(volume):
    return np.ascontiguousarray(volume.data.T), volume.affine[:, [2, 1, 0, 3]]


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_freesurfer(tmp_path, name, kind):
    image, _ = phantom()
    data, affine = xyz(image)
    nib.save(nib.MGHImage((data % 200).astype(kind), affine), tmp_path / name)
    found = read_volume(tmp_path / name)
    np.testing.assert_array_equal(found.volume.data, image.data % 200)
    assert found.volume.data.dtype == kind
    np.testing.assert_allclose(found.volume.affine, image.affine, atol=1e-4)
    assert stem(tmp_path / name) == "a" and mask_suffix(tmp_path / name) == ".nii.gz"


@pytest.mark.parametrize("asked", [".hdr", ".img"])
def test_nifti_in_two_files(tmp_path, asked):
    image, _ = phantom()
    nib.save(nib.Nifti1Pair(*xyz(image)), tmp_path / "a.img")
    found = read_volume(tmp_path / f"a{asked}")
    np.testing.assert_array_equal(found.volume.data, image.data)
    np.testing.assert_allclose(found.volume.affine, image.affine, atol=1e-4)
    assert not found.facts.notes
    assert files_of(tmp_path / f"a{asked}") == (tmp_path / "a.hdr", tmp_path / "a.img")


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, Spm99AnalyzeImage])
def test_analyze_lies_where_nibabel_puts_it(tmp_path, kind):
    image, _ = phantom()
    data, _ = xyz(image)
    written = kind(data, None)
    written.header.set_zooms((1.3, 1.1, 6.0))
    nib.save(written, tmp_path / "a.img")
    found = read_volume(tmp_path / "a.img")
    np.testing.assert_array_equal(found.volume.data, image.data)
    expected = Spm99AnalyzeImage.load(tmp_path / "a.img").header.get_best_affine()
    np.testing.assert_allclose(found.volume.affine, expected[:, [2, 1, 0, 3]], atol=1e-4)
    assert "does not say where left is" in found.facts.notes[0]


def test_half_a_pair(tmp_path):
    nib.save(nib.Nifti1Pair(*xyz(phantom()[0])), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(VolumeError, match=r"a\.img: there is no such file"):
        read_volume(tmp_path / "a.hdr")
    (tmp_path / "envi.hdr").write_text("ENVI\nsamples = 3\n" * 40)
    (tmp_path / "envi.img").write_bytes(b"x")
    with pytest.raises(VolumeError, match="header cannot be read"):
        read_volume(tmp_path / "envi.hdr")


def test_a_phase_of_a_4d_file(tmp_path):
    image, _ = phantom()
    data, affine = xyz(image)
    cine = np.stack([data, data + 1, data + 2], axis=-1)
    for name, kind in (("a.nii.gz", nib.Nifti1Image), ("a.mgz", nib.MGHImage)):
        nib.save(kind(cine, affine), tmp_path / name)
        with pytest.raises(VolumeError, match=r"3 volumes: 1 volume 1; .*--split-time"):
            read_volume(tmp_path / name)
        for part in (1, 2, 3, "3", "volume 2"):
            found = read_volume(tmp_path / name, options=ReadOptions(part=part))
            first = int(str(part)[-1]) - 1
            np.testing.assert_array_equal(found.volume.data, image.data + first)
        for part in (0, 4, "volume", "x"):
            with pytest.raises(VolumeError, match="of 3 volumes"):
                read_volume(tmp_path / name, options=ReadOptions(part=part))


def test_the_mask_of_a_phase_is_3d(tmp_path):
    from dpcenet.volumes.write_masks import write_mask

    image, labels = phantom()
    data, affine = xyz(image)
    nib.save(nib.Nifti1Image(np.stack([data] * 3, axis=-1), affine), tmp_path / "a.nii.gz")
    scan = read_volume(tmp_path / "a.nii.gz", options=ReadOptions(part=2))
    write_mask(labels.data, tmp_path / "m.nii.gz", scan.grid)
    assert nib.load(tmp_path / "m.nii.gz").shape == SHAPE[::-1]
    np.testing.assert_array_equal(read_volume(tmp_path / "m.nii.gz").volume.data, labels.data)


def test_one_slice_of_two_axes(tmp_path):
    image, _ = phantom()
    nib.save(nib.Nifti1Image(image.data[2].T, xyz(image)[1]), tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.volume.data, image.data[2:3])


@pytest.mark.parametrize(("code", "scale"), [(1, 1e-3), (3, 1e3), (2, 1)])
def test_lengths_in_other_units(tmp_path, code, scale):
    image, labels = phantom()
    data, affine = xyz(image)
    affine = affine.copy()
    affine[:3] *= scale
    written = nib.Nifti1Image(data, affine)
    written.header["xyzt_units"] = code
    nib.save(written, tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(found.volume.affine, image.affine, rtol=1e-4, atol=1e-3)
    check_mask(labels, found.volume, "mask")
    assert bool(found.facts.notes) == (code != 2)


def test_nrrd_in_metres(tmp_path):
    header = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 3 4\n"
        "space directions: (0.002,0,0) (0,0.003,0) (0,0,0.005)\nkinds: domain domain domain\n"
        'space units: "m" "m" "m"\nencoding: raw\nspace origin: (0.007,0.008,0.009)\n\n'
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(24))
    found = read_volume(tmp_path / "a.nrrd")
    expected = [[0, 0, 2, 7], [0, 3, 0, 8], [5, 0, 0, 9], [0, 0, 0, 1]]
    np.testing.assert_allclose(found.volume.affine, expected, atol=1e-9)
    assert found.facts.notes and found.grid.matrix[0, 2] == pytest.approx(2)


def test_a_sform_beside_a_broken_qform(tmp_path):
    image, _ = phantom()
    written = nib.Nifti1Image(*xyz(image))
    written.header["qform_code"] = 1
    nib.save(written, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[256:268] = np.array([0.9, 0.9, 0.9], "<f4").tobytes()
    content[252:254] = (1).to_bytes(2, "little")
    (tmp_path / "a.nii").write_bytes(content)
    found = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(found.volume.affine, image.affine, atol=1e-4)
    assert "qform is no rotation" in found.facts.notes[0]
    assert found.grid.header["qform_code"] == 0


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_a_folder_of_pictures(tmp_path, suffix):
    random = np.random.default_rng(0)
    data = random.integers(0, 255, (12, 9, 7), dtype=np.uint8)
    for z, plane in enumerate(data):
        Image.fromarray(plane).save(tmp_path / f"slice {z}.{suffix}")  # 10 comes after 9
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(VolumeError, match=r"do not say how far apart .*--spacing"):
        read_volume(tmp_path)
    found = read_volume(tmp_path, options=ReadOptions(spacing=(4.0, 0.5, 0.7)))
    assert found.volume.spacing == (4.0, 0.5, 0.7) and "a guess" in found.facts.notes[0]
    if suffix == "jpg":  # loses a little
        assert np.abs(found.volume.data.astype(int) - data).mean() < 40
    else:
        np.testing.assert_array_equal(found.volume.data, data)
    z, y, x = found.volume.affine[:3, :3].T
    assert z[2] > 0 and y[1] < 0 and x[0] < 0  # to the head, the back, the left


@pytest.mark.parametrize(
    ("names", "between"),
    [
        ("1 2 3 5 6 7", "3.png and 5.png"),
        ("a007 a009 a013 a015 a017 a019", "a009.png and a013.png"),
        ("1 2 3 4 6 7 8 9 11 12", "4.png and 6.png, and at 1 more place"),
        ("1 2 3 4 5 6", ""),
        ("10 20 30 40 50", ""),
        ("a b c d e", ""),
        ("3 17 18 90 95", ""),  # these count nothing
        ("1 3 5", ""),
    ],
)
def test_a_picture_that_the_names_leave_out_is_noted(tmp_path, names, between):
    image, _ = made_case(shape=(len(names.split()), 9, 7))
    plain = write_nifti(image, tmp_path / "scan.nii.gz")
    for folder in ("pictures", "masks"):
        (tmp_path / folder).mkdir()
        for z, name in enumerate(names.split()):
            plane = np.random.default_rng(z).integers(0, 255, (9, 7), dtype=np.uint8)
            Image.fromarray(plane).save(tmp_path / folder / f"{name}.png")
    scan = read_volume(tmp_path / "pictures", options=ReadOptions(spacing=(4.0, 1.0, 1.0)))
    mask = read_mask(tmp_path / "masks", read_volume(plain))
    for notes in (scan.facts.notes, mask.facts.notes):
        said = [note for note in notes if "is a picture missing" in note]
        assert len(said) == bool(between) and all(f"between {between}?" in note for note in said)


def test_a_palette_of_greys_is_its_greys_in_a_scan_and_its_indices_in_a_mask(tmp_path):
    image, _ = made_case(shape=(4, 9, 7))
    plain = write_nifti(image, tmp_path / "scan.nii.gz")
    greys = np.random.default_rng(0).permutation(64).astype(np.uint8)[:63].reshape(9, 7)
    palette = np.repeat(255 - 2 * np.arange(256) % 256, 3).astype(np.uint8)
    (tmp_path / "p").mkdir()
    for z in range(4):
        picture = Image.fromarray(greys)
        picture.putpalette(palette.tobytes())
        picture.save(tmp_path / f"p/{z}.png")
    scan = read_volume(tmp_path / "p", options=ReadOptions(spacing=(4.0, 1.0, 1.0)))
    np.testing.assert_array_equal(scan.volume.data, [palette[::3][greys]] * 4)
    mask = read_mask(tmp_path / "p", read_volume(plain))
    np.testing.assert_array_equal(mask.volume.data, [greys] * 4)
    colours = palette.copy()
    colours[1::3] = 0
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "p/3.png")
    with pytest.raises(VolumeError, match="the picture is coloured"):
        read_volume(tmp_path / "p", options=ReadOptions(spacing=(4.0, 1.0, 1.0)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_in_which_0_is_white(tmp_path, kind):
    data = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (9, 7), dtype=kind)
    for name, photometric in (("black", 1), ("white", 0)):
        file = tmp_path / f"{name}.tif"
        Image.fromarray(data).save(file)
        with Image.open(file) as picture:  # the same bytes, which the tag calls otherwise
            stored = file.read_bytes().replace(
                (262).to_bytes(2, "little") + b"\3\0\1\0\0\0\1\0",
                (262).to_bytes(2, "little") + b"\3\0\1\0\0\0" + bytes([photometric, 0]),
            )
            assert picture.tag_v2[262] == 1
        file.write_bytes(stored)
        found = read_volume(file, options=ReadOptions(spacing=(4.0, 1.0, 1.0)))
        expected = data if photometric else np.iinfo(kind).max - data
        np.testing.assert_array_equal(found.volume.data[0], expected)


def test_pages_of_a_tiff_and_16_bits(tmp_path):
    data = np.random.default_rng(0).integers(0, 4000, (4, 9, 7), dtype=np.uint16)
    first, *rest = [Image.fromarray(plane) for plane in data]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    found = read_volume(tmp_path / "a.tif", options=ReadOptions(spacing=(1.0, 1.0, 1.0)))
    np.testing.assert_array_equal(found.volume.data, data)


def test_colours_and_odd_sizes_are_refused(tmp_path):
    spaced = ReadOptions(spacing=(1.0, 1.0, 1.0))
    grey = np.arange(63, dtype=np.uint8).reshape(9, 7)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.png")
    found = read_volume(tmp_path / "a.png", options=spaced)
    np.testing.assert_array_equal(found.volume.data[0], grey)
    Image.fromarray(np.stack([grey, grey, grey + 1], axis=-1)).save(tmp_path / "b.png")
    with pytest.raises(VolumeError, match=r"b\.png: the picture is coloured"):
        read_volume(tmp_path / "b.png", options=spaced)
    Image.fromarray(grey[:5]).save(tmp_path / "b.png")
    with pytest.raises(VolumeError, match=r"b\.png: it is \(5, 7\)"):
        read_volume(tmp_path, options=spaced)
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(VolumeError, match=r"b\.png: its values are uint16, in a\.png uint8"):
        read_volume(tmp_path, options=spaced)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 99)
    with pytest.raises(VolumeError, match=r"b\.png: the picture cannot be read"):
        read_volume(tmp_path, options=spaced)


def test_a_picture_that_claims_more_than_it_can_hold(tmp_path):
    """The first numbers of a PNG are its width and height, with a sum of their own."""
    import zlib

    Image.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = (12_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(VolumeError, match=r"12000 × 12000 pixels on page 1"):
        read_volume(tmp_path / "a.png", options=ReadOptions(spacing=(1.0, 1.0, 1.0)))


def test_no_more_is_asked_for_than_a_picture_holds(tmp_path):
    """The length of a PNG's first chunk of pixels stands in bytes 33 to 37."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (24, 20), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[33:37] = (2**31 - 1).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    tracemalloc.start()
    with contextlib.suppress(VolumeError):
        read_volume(tmp_path / "a.png", options=ReadOptions(spacing=(1.0, 1.0, 1.0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_masks_as_pictures_follow_the_slices_files(tmp_path):
    """As CHAOS has them: named like the slices, which run from head to feet."""
    image, labels = made_case()
    order = list(reversed(range(len(image.data))))
    files = write_dicom(image, tmp_path / "scan", order)
    (tmp_path / "masks").mkdir()
    for file, z in zip(files, order, strict=True):
        Image.fromarray(labels.data[z].astype(np.uint8)).save(tmp_path / f"masks/{file.stem}.png")
    scan = read_volume(tmp_path / "scan")
    mask = read_mask(tmp_path / "masks", scan)
    np.testing.assert_array_equal(check_mask(mask.volume, scan.volume, "m"), labels.data)
    (tmp_path / "masks" / f"{files[0].stem}.png").unlink()
    with pytest.raises(VolumeError, match=r"pictures of \(5, 48, 40\)"):
        read_mask(tmp_path / "masks", scan)


def test_slice_2_comes_before_slice_10_wherever_pictures_lie(tmp_path):
    """In a folder, in a zip, and as a mask whose names are those of the slices' files."""
    image, labels = made_case(shape=(12, 24, 20))
    (tmp_path / "scan").mkdir()
    (tmp_path / "masks").mkdir()
    for z, file in enumerate(write_dicom(image, tmp_path / "written"), start=1):
        file.rename(tmp_path / f"scan/{z}.dcm")
        Image.fromarray(labels.data[z - 1].astype(np.uint8)).save(tmp_path / f"masks/{z}.png")
    spaced = ReadOptions(spacing=(6.0, 1.4, 1.6))
    np.testing.assert_array_equal(
        read_volume(tmp_path / "masks", options=spaced).volume.data, labels.data
    )
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    zipped(tmp_path / "a.zip", {f"x/{name}": pictures[name] for name in sorted(pictures)})
    packed = read_volume(tmp_path / "a.zip", options=spaced)
    np.testing.assert_array_equal(packed.volume.data, labels.data)
    mask = read_mask(tmp_path / "masks", read_volume(tmp_path / "scan"))
    np.testing.assert_array_equal(mask.volume.data, labels.data)


def test_a_mask_with_a_volume_for_each_label_is_refused_with_what_to_do(tmp_path):
    image, labels = made_case(shape=(4, 24, 20))
    each = np.stack([(labels.data == value).T for value in (1, 2)], -1).astype(np.uint8)
    nib.save(nib.Nifti1Image(each, labels.affine[:, [2, 1, 0, 3]]), tmp_path / "m.nii.gz")
    nib.save(nib.Nifti1Image(*xyz(image)), tmp_path / "a.nii.gz")
    with pytest.raises(VolumeError, match=r"expected one label map.*a file for each organ"):
        read_mask(tmp_path / "m.nii.gz", read_volume(tmp_path / "a.nii.gz"))


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_of_a_series(tmp_path):
    image, _ = made_case()
    files = write_dicom(image, tmp_path / "scan")
    content = {f"PATIENT/ST 1/{n}": file.read_bytes() for n, file in enumerate(files)}
    content |= {"PATIENT/": b"", "__MACOSX/._0": b"x", "README": b"hello"}
    found = read_volume(zipped(tmp_path / "a.zip", content))
    np.testing.assert_array_equal(found.volume.data, image.data)
    np.testing.assert_allclose(found.volume.affine, image.affine, atol=1e-6)
    assert found.files == ()  # they are gone: its mask is no SEG


def test_a_zip_of_one_volume_and_of_none(tmp_path):
    image, _ = phantom()
    stream = nib.Nifti1Image(*xyz(image)).to_bytes()
    found = read_volume(zipped(tmp_path / "a.zip", {"x/y.nii": stream}))
    np.testing.assert_array_equal(found.volume.data, image.data)
    with pytest.raises(VolumeError, match=r"a\.zip: 2 volume files"):
        read_volume(zipped(tmp_path / "a.zip", {"x.nii": stream, "y.nii": stream}))
    with pytest.raises(VolumeError, match=r"a\.zip: 0 volume files"):
        read_volume(zipped(tmp_path / "a.zip", {"x.txt": b"hello"}))
    with pytest.raises(VolumeError, match=r"a\.zip: 000000\.nii in it: .*header"):
        read_volume(zipped(tmp_path / "a.zip", {"x.nii": b"hello"}))


@pytest.mark.parametrize(
    "name", ["../x.nii", "a/../../x.nii", "/etc/x.nii", "..\\x.nii", "C:\\x.nii"]
)
def test_a_zip_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(VolumeError, match="names inside the zip"):
        read_volume(zipped(tmp_path / "a.zip", {name: b"hello"}))
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}


def test_a_zip_of_one_value_is_refused_before_the_disk_is_filled_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("dpcenet.volumes.size_guards.BLANK_BYTES", 1_000_000)
    monkeypatch.setattr("dpcenet.volumes.archive._unpack", None)
    with pytest.raises(VolumeError, match=r"claim to hold 5,000,000: almost every voxel"):
        read_volume(zipped(tmp_path / "a.zip", {"x.nii": bytes(5_000_000)}))


def test_bombs_links_and_damage_in_a_zip(tmp_path):
    with pytest.raises(VolumeError, match=r"take 5,000,000 bytes; expected at most 1,000,000"):
        read_volume(zipped(tmp_path / "a.zip", {"x.nii": bytes(5_000_000)}), max_bytes=1_000_000)
    link = zipfile.ZipInfo("x.nii")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(VolumeError, match="is a link"):
        read_volume(tmp_path / "b.zip")
    whole = io.BytesIO()
    zipped(whole, {"x.nii": np.random.default_rng(0).bytes(3000)})
    content = bytearray(whole.getvalue())
    content[200:300] = bytes(100)
    (tmp_path / "c.zip").write_bytes(content)
    with pytest.raises(VolumeError, match="the zip cannot be read"):
        read_volume(tmp_path / "c.zip")
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(VolumeError, match="the zip cannot be read"):
        read_volume(tmp_path / "d.zip")


def test_words_of_the_command_line():
    from dpcenet.errors import ConfigError

    assert parse_options(None, None, None, False) == AS_IT_IS
    found = parse_options("4.6", "T1", "5,0.7, 0.7", True)
    assert found == ReadOptions("4.6", "T1", (5.0, 0.7, 0.7), True)
    for spacing in ("5,0.7", "a,b,c", "1,1,0", "1,1,nan", "1,inf,1"):
        with pytest.raises(ConfigError, match="--spacing"):
            parse_options(None, None, spacing, False)
