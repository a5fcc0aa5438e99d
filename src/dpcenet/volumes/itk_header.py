"""The text header of NRRD and MetaImage files: fields, free keys, and where the voxels lie."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import VolumeError
from dpcenet.volumes import size_guards as payload

_HEADER_LINES = 10_000
_HEADER_LINE_BYTES = 100_000
_META_FIELDS = {
    name.lower(): name
    for name in (
        *("NDims", "DimSize", "ElementSpacing", "ElementSize", "ElementType", "ElementDataFile"),
        *("TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin"),
        *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData"),
        *("CompressedDataSize", "HeaderSize", "ElementNumberOfChannels", "DistanceUnits"),
        *("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"),
    )
}
"""What decides how a MetaImage is read, by its lower-case name."""


@dataclass(frozen=True)
class Header:
    """The text before the voxels.

    Attributes:
        nrrd: or else MetaImage.
        fields: of the format, by lower-case name without spaces.
        keys: what programs write beside them, by their own name.
        end: byte after the header.
    """

    nrrd: bool
    fields: dict[str, str]
    keys: dict[str, str]
    end: int


@dataclass(frozen=True)
class Storage:
    """Where the voxels lie: in `file` from byte `offset` on; -1 means at the file's end."""

    file: Path
    offset: int
    compressed: bool


def read_header(path: Path) -> Header:
    """The text header of a NRRD or MetaImage file.

    Raises:
        VolumeError: it is of no 3-D volume, nor of several along a fourth axis. ITK, which reads
            it next, crashes on a dimension of 99.
    """
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    header = _read_fields(path, nrrd)
    dimension = header.fields.get("dimension" if nrrd else "ndims", "none")
    if dimension not in ("3", "4"):
        raise VolumeError(
            path,
            f"the header's dimension is {dimension}",
            "a 3-D volume",
            "Save the scan as one 3-D .nrrd, .mha or .nii.gz file.",
        )
    if not nrrd:
        _check_numbers(path, header.fields)
    lengths = header.fields.get("sizes" if nrrd else "dimsize", "").split()
    if len(lengths) != int(dimension):
        raise unreadable(path, f"axes: {dimension}, lengths: {len(lengths)}")
    return header


def _read_fields(path: Path, nrrd: bool) -> Header:
    """Fields by lower-case name without spaces, free keys by their name, and where they end."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as stream:
        for _ in range(_HEADER_LINES):
            line = stream.readline(_HEADER_LINE_BYTES).decode("latin-1")
            if len(line) == _HEADER_LINE_BYTES:
                raise unreadable(path, f"a line of its header has {len(line):,} bytes or more")
            if not line.strip():  # a blank line, or the end of a header with voxels elsewhere
                break
            if line.startswith("#"):
                continue
            name, found, value = line.partition(":" if nrrd else "=")
            if nrrd and value.startswith("="):
                keys[_text(name)] = _unescaped(_text(value[1:]))
                continue
            if not nrrd:
                keys[_text(name)] = _text(value)
            plain = name.strip().lower().replace(" ", "")
            if found:
                _check_field(path, name.strip(), plain, fields, nrrd)
                fields[plain] = value.strip()
            if plain == "elementdatafile":
                break
        else:  # ITK would take minutes
            raise unreadable(path, f"its header has more than {_HEADER_LINES:,} lines")
        return Header(nrrd, fields, keys, stream.tell())


def _check_field(path: Path, name: str, plain: str, fields: dict[str, str], nrrd: bool) -> None:
    """Refuse what two programs could read in two ways, and ITK crashes on: a field that is there
    twice, or one of MetaImage's in other letters, which ITK does not see."""
    if plain in fields and plain != "comment":
        raise unreadable(path, f"its header has {plain[:40]!r} twice")
    wanted = _META_FIELDS.get(plain, name)
    if not nrrd and name != wanted:
        raise unreadable(path, f"its header has {name!r}, which is spelled {wanted!r}")


def _check_numbers(path: Path, fields: dict[str, str]) -> None:
    """Refuse what is no number in a MetaImage; ITK takes another one."""
    for name in (
        *("offset", "position", "origin", "elementspacing", "elementsize"),
        *("elementtointensityfunctionslope", "elementtointensityfunctionoffset"),
    ):
        for text in fields.get(name, "").split():
            try:
                finite = math.isfinite(float(text))
            except ValueError:
                finite = False
            if not finite:
                raise unreadable(path, f"{_META_FIELDS[name]} is {fields[name][:60]}")


def _text(latin: str) -> str:
    """UTF-8 that was read byte by byte."""
    return latin.encode("latin-1").decode("utf-8", "replace").strip()


def _unescaped(value: str) -> str:
    """A value of a free key of NRRD, which has a sign for the end of a line and for backslash."""
    return re.sub(r"\\([n\\])", lambda found: "\n" if found[1] == "n" else "\\", value)


def storage_of(path: Path, header: Header) -> Storage:
    """Where the voxels of a file lie.

    Raises:
        VolumeError: the header does not say so, or names a file outside its folder.
    """
    found = _nrrd_storage if header.nrrd else _meta_storage
    return found(path, header.fields, header.end)


def voxels_of(path: Path) -> tuple[Path, ...]:
    """The files of a .mhd, .nhdr or one-file volume: the header, and the voxels beside it.

    Raises:
        VolumeError: the header cannot be read.
    """
    payload.check_file(path)
    return tuple(dict.fromkeys((path, storage_of(path, read_header(path)).file)))


def _nrrd_storage(path: Path, fields: dict[str, str], end: int) -> Storage:
    """Storage by the NRRD header."""
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise unreadable(path, f"encoding {encoding!r} is neither raw nor gzip")
    skip = fields.get("byteskip", "0")
    if fields.get("lineskip", "0") != "0" or skip not in (
        ("0", "-1") if encoding == "raw" else "0"
    ):
        raise unreadable(path, "it skips lines or bytes before the voxels")
    elsewhere = fields.get("datafile")
    file, start = (_beside(path, elsewhere), 0) if elsewhere else (path, end)
    return Storage(file, -1 if skip == "-1" else start, encoding != "raw")


def _meta_storage(path: Path, fields: dict[str, str], end: int) -> Storage:
    """Storage by the MetaImage header."""
    if "elementdatafile" not in fields:
        raise unreadable(path, "no ElementDataFile")
    if fields.get("binarydata", "true").lower() == "false":
        raise unreadable(path, "the voxels are written as text")
    compressed = fields.get("compresseddata", "false").lower() == "true"
    skip = fields.get("headersize", "0")
    if not (skip.isdigit() or (skip == "-1" and not compressed)):
        raise unreadable(path, f"HeaderSize is {skip!r}")
    local = fields["elementdatafile"].upper() == "LOCAL"
    file, start = (path, end) if local else (_beside(path, fields["elementdatafile"]), 0)
    return Storage(file, -1 if skip == "-1" else start + int(skip), compressed)


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names."""
    if name.upper().startswith("LIST") or "%" in name:
        raise unreadable(path, "the voxels lie in several files")
    if Path(name).is_absolute() or ".." in re.split(r"[/\\]", name) or "\0" in name:
        found = f"the voxels should be in {name[:80]}, outside the header's folder"
        raise VolumeError(path, found, "both side by side", "Copy both files together.")
    file = path.parent / name
    try:
        there = file.is_file()
    except OSError:  # a name of 300 letters
        there = False
    if not there:
        raise VolumeError(
            path,
            f"the voxels should be in {name[:80]}, which is not there",
            "the header and its data file side by side",
            "Copy both files together.",
        )
    return file


def unreadable(path: Path, reason: str) -> VolumeError:
    """An error for a file that is no usable NRRD or MetaImage."""
    return VolumeError(
        path,
        f"the file cannot be read ({reason})",
        "an NRRD or MetaImage file",
        "Save the scan again as .nrrd, .mha or .nii.gz.",
    )
