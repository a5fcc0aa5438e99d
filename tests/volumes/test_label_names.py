"""Names and codes of labels travel with the mask: NIfTI, NRRD, DICOM SEG."""

from __future__ import annotations

from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dpcenet.errors import VolumeError
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.label_table import labels_in
from dpcenet.volumes.scan_file import Code, Labels, SourceGrid
from dpcenet.volumes.write_masks import write_mask
from phantoms import make_phantom

LABELS = Labels({1: "肝 & <Leber>", 2: 'Niere "groß"'}, {1: Code("SCT", "10200004", "Liver")})


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.seg.nrrd", "m.nhdr"])
def test_names_come_back(tmp_path, name):
    _, mask = make_phantom((5, 30, 20))
    write_mask(mask.data, tmp_path / name, SourceGrid.of(mask), LABELS)
    found = read_volume(tmp_path / name)
    np.testing.assert_array_equal(found.volume.data, mask.data)
    assert found.facts.labels == LABELS


def test_nibabel_reads_voxels_and_table(tmp_path):
    """As TotalSegmentator and Workbench look for it: one XML extension."""
    _, mask = make_phantom((5, 30, 20))
    write_mask(mask.data, tmp_path / "m.nii.gz", SourceGrid.of(mask), LABELS)
    image = nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, mask.data)
    (extension,) = image.header.extensions
    root = ElementTree.fromstring(extension.get_content().strip(b"\0"))
    table = root.find("VolumeInformation/LabelTable")
    assert {label.get("Key"): label.text for label in table} == {
        str(value): name for value, name in LABELS.names.items()
    }


def test_the_table_of_totalsegmentator_is_read(tmp_path):
    """Written by nibabel with ecode 0, as that program does, behind another extension."""
    _, mask = make_phantom((5, 30, 20))
    image = nib.Nifti1Image(mask.data.T, mask.affine[:, [2, 1, 0, 3]])
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <Date><![CDATA[2013]]></Date>'
        '<VolumeInformation Index="0"><LabelTable><Label Key="1" Red="0.1" Green="0.2" Blue="0"'
        ' Alpha="1">spleen</Label>\n<Label Key="2">kidney_right</Label></LabelTable>'
        "</VolumeInformation></CaretExtension>"
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a comment"))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(image, tmp_path / "m.nii.gz")
    assert read_volume(tmp_path / "m.nii.gz").facts.labels.names == {1: "spleen", 2: "kidney_right"}


def test_names_of_a_file_are_one_line_that_can_be_printed(tmp_path):
    """A name goes to terminals, file names, headers of a line for each key, and task files."""
    odd = {1: "li\nver", 2: "a\u009b31m\u202eb", 3: " \n ", 4: "n" * 5000, 5: "  left   kidney "}
    _, mask = make_phantom((5, 30, 20))
    image = nib.Nifti1Image(mask.data.T, mask.affine[:, [2, 1, 0, 3]])
    rows = "".join(f'<Label Key="{v}"><![CDATA[{name}]]></Label>' for v, name in odd.items())
    xml = f"<CaretExtension><VolumeInformation><LabelTable>{rows}</LabelTable></VolumeInformation>"
    table = f"{xml}</CaretExtension>".encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table))
    nib.save(image, tmp_path / "m.nii.gz")
    labels = read_volume(tmp_path / "m.nii.gz").facts.labels
    expected = {1: "li ver", 2: "a 31m b", 4: "n" * 200, 5: "left kidney"}
    assert labels.names == expected
    for name in ("m.seg.nrrd", "m2.nii"):
        write_mask(mask.data, tmp_path / name, SourceGrid.of(mask), Labels(odd))
        assert read_volume(tmp_path / name).facts.labels.names == expected


@pytest.mark.parametrize("name", ["m.seg.nrrd", "m.nrrd", "m.nii"])
def test_a_backslash_comes_back(tmp_path, name):
    """NRRD doubles it in a header, where it is the sign for the end of a line before n."""
    labels = Labels({1: r"left\new", 2: r"a\\b"})
    _, mask = make_phantom((5, 30, 20))
    write_mask(mask.data, tmp_path / name, SourceGrid.of(mask), labels)
    assert read_volume(tmp_path / name).facts.labels == labels


@pytest.mark.parametrize(
    "text",
    [
        b"<CaretExtension",
        b"\xff\xfe CaretExtension",
        b'<!DOCTYPE x [<!ENTITY a "b">]><CaretExtension><Label Key="1">&a;</Label>'
        b"</CaretExtension>",
        b'<CaretExtension><Label Key="-1">a</Label><Label Key="9999999">b</Label></CaretExtension>',
    ],
)
def test_a_damaged_table_names_nothing(text):
    size = len(text) + 8
    block = size.to_bytes(4, "little") + bytes(4) + text
    assert not labels_in(block).names
    assert not labels_in(block[:-3]).names and not labels_in(b"\0" * 40).names


def test_slicers_keys_are_there(tmp_path):
    _, mask = make_phantom((5, 30, 20))
    write_mask(mask.data, tmp_path / "m.seg.nrrd", SourceGrid.of(mask), LABELS)
    image = sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert image.GetMetaData("Segment1_Name") == LABELS.names[2]
    assert image.GetMetaData("Segment0_LabelValue") == "1"
    assert "SCT^10200004^Liver" in image.GetMetaData("Segment0_Tags")
    assert image.GetMetaData("Segment0_Extent") == "0 19 0 29 0 4"


def seg_nrrd(path, layers, segments):
    """A file as 3D Slicer writes it; layers (L, Z, Y, X) or (Z, Y, X)."""
    data = np.asarray(layers, np.uint8)
    layered = data.ndim == 4
    sizes = " ".join(map(str, (data.shape[0], *data.shape[:0:-1]) if layered else data.shape[::-1]))
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {data.ndim}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' * layered}(2,0,0) (0,3,0) (0,0,5)",
        f"kinds: {'list ' * layered}domain domain domain",
        "encoding: raw",
        "space origin: (7,8,9)",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
        ]
    stored = np.moveaxis(data, 0, -1) if layered else data
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + np.ascontiguousarray(stored).tobytes())
    return path


def test_layers_become_one_map(tmp_path):
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    layers[0, 1, :2] = 1
    layers[1, 1, 2:] = 1
    layers[1, 2] = 2
    path = seg_nrrd(
        tmp_path / "a.seg.nrrd", layers, [("liver", 1, 0), ("tumour", 1, 1), ("bone", 2, 1)]
    )
    found = read_volume(path)
    expected = np.where(layers[0] == 1, 1, np.where(layers[1] == 1, 2, np.where(layers[1], 3, 0)))
    np.testing.assert_array_equal(found.volume.data, expected)
    assert found.facts.labels.names == {1: "liver", 2: "tumour", 3: "bone"}


def test_segments_that_overlap_are_refused_by_name(tmp_path):
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    layers[0, 1] = layers[1, 1, 0] = 1
    path = seg_nrrd(tmp_path / "a.seg.nrrd", layers, [("liver", 1, 0), ("tumour", 1, 1)])
    with pytest.raises(VolumeError, match="'liver' and 'tumour' overlap in 5 voxels"):
        read_volume(path)
    path = seg_nrrd(tmp_path / "b.seg.nrrd", layers, [("liver", 1, 0), ("tumour", 1, 7)])
    with pytest.raises(VolumeError, match="layer 7 of 2"):
        read_volume(path)


def test_one_layer_of_four_axes_is_a_volume(tmp_path):
    data = np.random.default_rng(0).integers(0, 3, (1, 3, 4, 5), dtype=np.uint8)
    found = read_volume(seg_nrrd(tmp_path / "a.nrrd", data, []))
    np.testing.assert_array_equal(found.volume.data, data[0])
    with pytest.raises(VolumeError, match="2 volumes"):
        read_volume(seg_nrrd(tmp_path / "b.nrrd", np.repeat(data, 2, axis=0), []))
