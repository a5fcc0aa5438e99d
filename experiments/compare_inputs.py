"""Scans in other formats, written without the code that reads them; for compare_checkouts.py."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ROOT = "1.2.826.0.1.3680043.8.498"  # under which anyone may make identifiers
LONG = (b"OB", b"OW")  # value types whose length takes four bytes


def write_mha(scan: Path, path: Path) -> None:
    """Copy a NIfTI scan of int16 voxels to MetaImage."""
    data, affine = _voxels_lps(scan)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = (affine[:3, :3] / spacing).T
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": _numbers(directions, " "),
        "Offset": _numbers(affine[:3, 3], " "),
        "ElementSpacing": _numbers(spacing, " "),
        "DimSize": " ".join(map(str, data.shape)),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    path.write_bytes(text.encode() + data.astype("<i2").tobytes(order="F"))


def write_dicom_series(scan: Path, folder: Path) -> None:
    """Copy a NIfTI scan of int16 voxels to a DICOM series, one file for each slice."""
    data, affine = _voxels_lps(scan)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(data.shape[2]):
        place = (affine @ [0, 0, z, 1])[:3]
        elements: list[tuple[int, int, bytes, Any]] = [
            (0x0008, 0x0016, b"UI", MR_IMAGE),
            (0x0008, 0x0018, b"UI", f"{ROOT}.1.{z + 1}"),
            (0x0008, 0x0020, b"DA", "20200101"),
            (0x0008, 0x0030, b"TM", "120000"),
            (0x0008, 0x0050, b"SH", ""),
            (0x0008, 0x0060, b"CS", "MR"),
            (0x0008, 0x0070, b"LO", "made"),
            (0x0008, 0x0090, b"PN", ""),
            (0x0010, 0x0010, b"PN", "Made^Scan"),
            (0x0010, 0x0020, b"LO", "made"),
            (0x0010, 0x0030, b"DA", ""),
            (0x0010, 0x0040, b"CS", ""),
            (0x0018, 0x0050, b"DS", _numbers(spacing[2])),
            (0x0020, 0x000D, b"UI", f"{ROOT}.2"),
            (0x0020, 0x000E, b"UI", f"{ROOT}.3"),
            (0x0020, 0x0010, b"SH", ""),
            (0x0020, 0x0011, b"IS", "1"),
            (0x0020, 0x0013, b"IS", str(z + 1)),
            (0x0020, 0x0032, b"DS", _numbers(place)),
            (0x0020, 0x0037, b"DS", _numbers(directions[:, :2].T)),
            (0x0020, 0x0052, b"UI", f"{ROOT}.4"),
            (0x0028, 0x0002, b"US", 1),
            (0x0028, 0x0004, b"CS", "MONOCHROME2"),
            (0x0028, 0x0010, b"US", data.shape[1]),
            (0x0028, 0x0011, b"US", data.shape[0]),
            (0x0028, 0x0030, b"DS", _numbers(spacing[1::-1])),
            *((0x0028, tag, b"US", value) for tag, value in ((0x100, 16), (0x101, 16))),
            *((0x0028, tag, b"US", value) for tag, value in ((0x102, 15), (0x103, 1))),
            (0x7FE0, 0x0010, b"OW", data[:, :, z].astype("<i2").tobytes(order="F")),
        ]
        (folder / f"{z:03d}.dcm").write_bytes(_file_of(elements, f"{ROOT}.1.{z + 1}"))


def _voxels_lps(scan: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels (X, Y, Z) and the affine to LPS+ mm, as DICOM and ITK count."""
    image = nib.Nifti1Image.from_filename(scan)
    return np.asanyarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def _numbers(values: Any, between: str = "\\") -> str:
    return between.join(f"{value:.10g}" for value in np.ravel(values))


def _file_of(elements: list[tuple[int, int, bytes, Any]], instance: str) -> bytes:
    """A DICOM file in explicit VR little endian."""
    meta = b"".join(
        [
            _element(0x0002, 0x0001, b"OB", b"\0\1"),
            _element(0x0002, 0x0002, b"UI", MR_IMAGE),
            _element(0x0002, 0x0003, b"UI", instance),
            _element(0x0002, 0x0010, b"UI", "1.2.840.10008.1.2.1"),
            _element(0x0002, 0x0012, b"UI", f"{ROOT}.5"),
        ]
    )
    length = _element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + b"".join(_element(*each) for each in elements)


def _element(group: int, tag: int, kind: bytes, value: Any) -> bytes:
    """One data element; odd lengths are filled up."""
    if isinstance(value, int):
        value = struct.pack("<H", value)
    if isinstance(value, str):
        value = value.encode()
    value += (b"\0" if kind == b"UI" or kind in LONG else b" ") * (len(value) % 2)
    head = struct.pack("<HH", group, tag) + kind
    return head + struct.pack("<xxI" if kind in LONG else "<H", len(value)) + bytes(value)
