"""NRRD and MetaImage files through SimpleITK, behind the guards that NIfTI files get.

SimpleITK returns a full image, without an error, for a file that is cut short. So the header's
few lines about storage are read here, and the voxels are counted before SimpleITK may load them.
ITK's millimetres are LPS+ (left, posterior, superior); ours are RAS+.
"""

# SimpleITK has no annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dpcenet.errors import VolumeError
from dpcenet.system.files import write_atomically
from dpcenet.system.large_arrays import changed, room_for
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.claims import MM_IN, check_metres, numbered
from dpcenet.volumes.geometry import LPS_TO_RAS, check_affine
from dpcenet.volumes.itk_header import Header, Storage, read_header, storage_of, unreadable
from dpcenet.volumes.scan_file import (
    AS_IT_IS,
    NO_LABELS,
    SPLIT,
    Facts,
    Labels,
    ReadOptions,
    ScanFile,
    SourceGrid,
    choose,
)
from dpcenet.volumes.slicer import join_layers, keys_for, segments_of

_MODALITY_TAG = "0008|0060"
"""ITK's name of DICOM's Modality, which it writes along with an image that was DICOM."""
_UNITS = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "", "???"), 1.0),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1000.0),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer"), 0.001),
    "cm": 10.0,
}
_PATIENT = (
    *("right-anterior-superior", "left-anterior-superior", "left-posterior-superior"),
    *("ras", "las", "lps"),
)
"""Spaces of NRRD whose axes are the patient's."""
_FUNCTION = {"elementtointensityfunctionslope": 1.0, "elementtointensityfunctionoffset": 0.0}
"""What MetaImage may do to its values, which ITK does not do; and what does nothing."""
_ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}

_PIXEL_BYTES = {
    **dict.fromkeys((sitk.sitkUInt8, sitk.sitkInt8), 1),
    **dict.fromkeys((sitk.sitkUInt16, sitk.sitkInt16), 2),
    **dict.fromkeys((sitk.sitkUInt32, sitk.sitkInt32, sitk.sitkFloat32), 4),
    **dict.fromkeys((sitk.sitkUInt64, sitk.sitkInt64, sitk.sitkFloat64), 8),
}


def read_itk(
    path: Path, max_bytes: int = payload.MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a .nrrd, .nhdr, .mha or .mhd file.

    Args:
        path: the file.
        max_bytes: cap on the decompressed voxels.
        options: which volume of a 4-D file.

    Returns:
        (Z, Y, X) voxels in the file's type, and the grid. The layers of a 3D Slicer segmentation
        become one label map.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    payload.check_file(path)
    header = read_header(path)
    storage = storage_of(path, header)
    payload.check_file(storage.file)
    scale = _mm_in(header, path)
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        affine = np.diag([scale, scale, scale, 1.0]) @ affine_of(reader)
        check_affine(affine, path)
        check_metres("meter" if scale == MM_IN["meter"] else "", affine, path)
        claimed, width = _claimed_bytes(reader, path, header)
        _check_payload(path, storage, claimed, width, max_bytes)
        data = _voxels(reader, path, header, options)
    except (RuntimeError, UnicodeError) as error:
        reason = (str(error).strip().splitlines() or ["for no reason that ITK gives"])[-1]
        raise unreadable(path, reason) from error
    volume = Volume(data, affine)
    words = {
        "origin": list(reader.GetOrigin()[:3]),
        "spacing": list(reader.GetSpacing()[:3]),
        "direction": np.reshape(reader.GetDirection(), (reader.GetDimension(),) * 2)[:3, :3]
        .ravel()
        .tolist(),
    }
    grid = SourceGrid.of(volume, "itk", words) if scale == 1 else SourceGrid.of(volume)
    return ScanFile(volume, grid, facts=_facts(header, scale))


def write_itk(
    data: npt.NDArray[np.generic], path: Path, grid: SourceGrid, labels: Labels = NO_LABELS
) -> None:
    """Write an array in the grid of the file it belongs to; the type of `data` is kept.

    A .mhd or .nhdr file gets its voxels inside, so that it is one file and whole or absent.

    Args:
        data: (Z, Y, X) as in `grid`.
        path: ends in .nrrd, .nhdr, .mha or .mhd.
        grid: of the scan.
        labels: what the values mean; a .nrrd has them as 3D Slicer writes segments.
    """
    header = grid.header if grid.format == "itk" else _itk_header(grid)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data))
    image.SetOrigin(header["origin"])
    image.SetSpacing(header["spacing"])
    image.SetDirection(header["direction"])
    suffix = path.suffix.lower()
    if labels.names and suffix in (".nrrd", ".nhdr"):
        for key, text in keys_for(labels.names, labels.codes, grid.shape).items():
            image.SetMetaData(key, text)

    def write(temporary: Path) -> None:
        # ITK chooses by the suffix whether the voxels go inside.
        inside = temporary.with_suffix(_ONE_FILE.get(suffix, suffix))
        try:
            sitk.WriteImage(image, str(inside), useCompression=True)
            inside.replace(temporary)
        except RuntimeError:  # the disk is full
            inside.unlink(missing_ok=True)
            raise

    write_atomically(path, write)


def _itk_header(grid: SourceGrid) -> dict[str, Any]:
    """Origin, spacing and direction of a grid that did not come from ITK."""
    lps = LPS_TO_RAS[:3, :3] @ grid.matrix[:3, [2, 1, 0, 3]]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    direction = (lps[:, :3] / spacing).ravel()
    return {
        "origin": lps[:, 3].tolist(),
        "spacing": spacing.tolist(),
        "direction": direction.tolist(),
    }


def affine_of(image: sitk.Image | sitk.ImageFileReader) -> npt.NDArray[np.float64]:
    """Affine of the index (z, y, x) to RAS+ mm."""
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = (LPS_TO_RAS[:3, :3] @ direction * np.array(image.GetSpacing()[:3]))[:, ::-1]
    affine[:3, 3] = LPS_TO_RAS[:3, :3] @ np.array(image.GetOrigin()[:3])
    return affine


def _voxels(
    reader: sitk.ImageFileReader, path: Path, header: Header, options: ReadOptions
) -> npt.NDArray[Any]:
    """(Z, Y, X) of the one volume that is meant, or of the layers of a segmentation."""
    layers = reader.GetNumberOfComponents()
    series = reader.GetSize()[3] if reader.GetDimension() == 4 else 1
    segments = segments_of(header.keys)
    if segments and series == 1:
        data = sitk.GetArrayFromImage(reader.Execute())
        return join_layers(data.reshape(*data.shape[:3], layers), segments, path)
    index = choose(options.part, numbered(max(layers, series)), path, SPLIT)
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
        reader.SetExtractIndex([0, 0, 0, index])
    image = reader.Execute()
    data = sitk.GetArrayViewFromImage(image)
    data = data if data.ndim == 3 else data[..., index]
    return changed(data, data.dtype, room_for(data.shape, data.dtype))


def _claimed_bytes(reader: sitk.ImageFileReader, path: Path, header: Header) -> tuple[int, int]:
    """Bytes of all voxels and of one by the header, for one real number in each voxel.

    Several numbers are several volumes where a NRRD file calls their axis a list, or the time.
    """
    pixel, numbers = reader.GetPixelID(), reader.GetNumberOfComponents()
    vector = pixel >= sitk.sitkVectorInt8
    scalar = pixel - (sitk.sitkVectorUInt8 - sitk.sitkUInt8) if vector else pixel
    kind = header.fields.get("kinds", "").lower().partition(" ")[0]
    listed = not vector or (header.nrrd and kind in ("list", "time", "none", "???"))
    if scalar not in _PIXEL_BYTES or not listed:
        raise VolumeError(
            path,
            f"the voxels are {sitk.GetPixelIDValueAsString(pixel)} with {numbers} numbers each",
            "one real number of up to 64 bits for each voxel",
            "Convert the scan to grey values.",
        )
    if min(reader.GetSpacing()) <= 0:
        found = f"the spacing is {list(reader.GetSpacing())}"
        raise VolumeError(path, found, "millimetres above 0", "Save the scan again.")
    width = _PIXEL_BYTES[scalar]
    return int(math.prod(reader.GetSize()) * numbers * width), width


def _mm_in(header: Header, path: Path) -> float:
    """Millimetres in the header's unit of length; it has one, and each axis a direction."""
    if header.fields.get("dimension") == "3" and "none" in header.fields.get("spacedirections", ""):
        raise unreadable(path, "an axis has no direction: several numbers in a voxel, or a slice")
    units = re.findall(r'"([^"]*)"', header.fields.get("spaceunits", ""))[:3]
    units = units or [header.fields.get("distanceunits", "") if not header.nrrd else ""]
    scales = {_UNITS.get(unit.strip().lower()) for unit in units}
    scale = scales.pop()
    if scale is None or scales:
        found = f"the header's units are {', '.join(units)[:60]}"
        raise VolumeError(path, found, "one of mm, cm, m or µm", "Save the scan again in mm.")
    return scale


def _facts(header: Header, scale: float) -> Facts:
    said = header.fields.get("modality", "") if not header.nrrd else ""
    said = said.upper().removeprefix("MET_MOD_")
    modality = header.keys.get(_MODALITY_TAG, "") or ("" if said == "UNKNOWN" else said)
    segments = segments_of(header.keys)
    names = {each.value: each.name for each in segments}
    codes = {each.value: each.code for each in segments if each.code is not None}
    return Facts(
        modality=modality if modality.isalpha() else "",
        labels=Labels(names, codes),
        notes=(*(["lengths became mm"] if scale != 1 else []), *_unsaid(header)),
    )


def _unsaid(header: Header) -> list[str]:
    """A note where ITK takes 1 mm, or LPS, since the header says nothing of it."""
    fields = header.fields
    names = ("spacings", "spacedirections") if header.nrrd else ("elementspacing", "elementsize")
    notes = []
    if not any(name in fields for name in names):
        notes.append("the header does not say how large a voxel is; taken as 1 mm")
    if header.nrrd:
        placed = fields.get("space", "").lower().removesuffix("-time") in _PATIENT
    else:
        placed = any(name in fields for name in ("transformmatrix", "rotation", "orientation"))
    if not header.nrrd and any(
        float(word) != usual
        for name, usual in _FUNCTION.items()
        for word in fields.get(name, "").split()
    ):
        notes.append("the header scales its values (ElementToIntensityFunction): not applied here")
    if not placed:
        notes.append("the header does not say how the patient lies: left and right are a guess")
    return notes


def _check_payload(path: Path, storage: Storage, claimed: int, width: int, max_bytes: int) -> None:
    """Count the voxels that are really there, before ITK asks for memory."""
    available = storage.file.stat().st_size - max(storage.offset, 0)
    if not storage.compressed:
        payload.check_claim(path, claimed, max_bytes, available)
        if storage.offset >= 0:
            payload.check_length(path, available, claimed)
        return
    payload.check_claim(path, claimed, max_bytes, available * payload.DEFLATE_LIMIT)
    payload.check_blank(path, claimed, available)
    try:
        with storage.file.open("rb") as stream:
            stream.seek(storage.offset)
            found, alike = payload.inflated_length(stream, claimed, width)
    except (EOFError, zlib.error) as error:
        raise VolumeError(
            path, f"the compressed voxels are damaged ({error})", "a whole file", payload.COPY_AGAIN
        ) from error
    payload.check_length(path, found, claimed)
    if alike and claimed > payload.LOOK_FIRST_BYTES:
        raise payload.one_value(path, claimed // width)
