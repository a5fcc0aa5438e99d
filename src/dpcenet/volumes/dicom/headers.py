"""Whether a file is DICOM, of which kind, and its header behind one guard.

Needs pydicom: the extra `dicom`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.volumes.size_guards import BoundedFile, check_file

if TYPE_CHECKING:
    from pydicom import FileDataset

EXPORT_AGAIN = "Export the series again, one folder for each series."
_MAGIC_AT, _MAGIC = 128, b"DICM"
_HEAD = 1024
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_INFLATED = 512 * 1024**2
"""Largest deflated DICOM file, in bytes: pydicom inflates it whole."""
_LONGEST_FIRST = 64
"""Bytes of a file's first attribute: a character set, a date, or the length of its group."""
_REASON = 200
_LAST_PIXELS = 0x7FE00010
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; the name does not matter.

    Old exports lack the 128 bytes and "DICM" in front; they begin with their first attribute.
    """
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            head = stream.read(_MAGIC_AT + len(_MAGIC))
    except OSError:
        return False
    return head[_MAGIC_AT:] == _MAGIC or _begins_with_group_8(head)


def _begins_with_group_8(head: bytes) -> bool:
    """Whether bytes begin with a short attribute of the first group that every image has."""
    if len(head) < _MAGIC_AT or head[:2] != b"\x08\x00" or head[2:4] > b"\x20\x00":
        return False
    implicit = int.from_bytes(head[4:8], "little") <= _LONGEST_FIRST
    return implicit or head[4:6] in (b"UL", b"CS", b"UI", b"DA", b"TM", b"SH")


def kind_of(path: Path) -> str:
    """The SOP class of a DICOM file; "" of any other file, and of one that cannot be read."""
    try:
        return sop_class(read_header(path)) if is_dicom(path) else ""
    except VolumeError:
        return ""


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation."""
    return kind_of(path) in (SEGMENTATION, LABEL_MAP)


def referred_series(path: Path) -> str:
    """SeriesInstanceUID of the scan that a SEG or RTSTRUCT refers to; "" where it says none."""
    try:
        header = read_header(path)
        with parsing(path):
            series = list(header.get("ReferencedSeriesSequence", None) or ())
            for frame in header.get("ReferencedFrameOfReferenceSequence", None) or ():
                for study in frame.get("RTReferencedStudySequence", None) or ():
                    series += study.get("RTReferencedSeriesSequence", None) or ()
            return str(series[0].get("SeriesInstanceUID", "")) if series else ""
    except VolumeError:
        return ""


def doubts_of_origin(mask: Path, scan: Path) -> tuple[str, ...]:
    """Notes where a SEG or RTSTRUCT says that it belongs to another scan.

    It is no error: an export that hides names may do so in the scan alone.

    Args:
        mask: a file that could be read.
        scan: a file of the series on which it is used.
    """
    theirs, ours = read_header(mask), read_header(scan)
    with parsing(mask):
        referred = theirs.get("ReferencedFrameOfReferenceSequence", None) or ()
        frames = {str(each.get("FrameOfReferenceUID", "") or "") for each in (theirs, *referred)}
        patients = {str(each.get("PatientID", "") or "").strip() for each in (theirs, ours)}
        frame = str(ours.get("FrameOfReferenceUID", "") or "")
    notes = []
    if "" not in patients and len(patients) > 1:
        notes.append("it names another patient than the scan: do they belong together?")
    if frame and (frames - {""}) and frame not in frames:
        notes.append(
            "it was drawn in another frame of reference than the scan: look whether it fits"
        )
    return tuple(notes)


def read_header(path: Path) -> FileDataset:
    """Everything of a DICOM file but its pixels.

    Raises:
        VolumeError: pydicom is missing, or the file is damaged.
    """
    try:
        import pydicom
    except ImportError as error:
        raise VolumeError(
            path, "pydicom is not installed", "it, to read DICOM", "pip install 'dpcenet[dicom]'"
        ) from error
    check_file(path)
    with parsing(path):
        _check_deflated(path)
        # Old exports lack the first bytes by which `is_dicom` knows the others.
        with BoundedFile(path) as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        if not sop_class(header):
            raise bad(path, "it has no SOP class: damaged, or not DICOM", "a whole DICOM file")
        return header


def read_whole(path: Path) -> FileDataset:
    """A DICOM file with its pixels; what lies behind them is not read."""
    from pydicom.filereader import read_partial

    with BoundedFile(path) as stream:
        return read_partial(stream, lambda tag, _vr, _length: tag > _LAST_PIXELS, force=True)


@contextmanager
def parsing(path: Path, expected: str = "a whole DICOM file") -> Iterator[None]:
    """Name the file where pydicom stumbles over it.

    pydicom converts a value when it is asked for, and raises whatever the conversion meets:
    ValueError, TypeError, NotImplementedError, zlib.error, struct.error, its own exceptions; no
    list of them was ever complete. So everything that is needed of a file is converted inside.

    Raises:
        VolumeError: something else than ours was raised inside.
    """
    try:
        yield
    except DpcenetError:
        raise
    except Exception as error:  # MemoryError, too: an attribute that claims gigabytes
        raise bad(path, f"cannot be read ({reason(error)})", expected) from error


def _check_deflated(path: Path) -> None:
    """Refuse a deflated file that would inflate to more than any slice holds."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        at = head.find(_DEFLATED)
        if at < 0:
            return
        # The group's length, its first attribute, says where the deflated part begins.
        length = int.from_bytes(head[_MAGIC_AT + 12 : _MAGIC_AT + 16], "little")
        stream.seek(_MAGIC_AT + 16 + length)
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflater.eof and total <= _MOST_INFLATED:
            chunk = inflater.unconsumed_tail or stream.read(1 << 20)
            if not chunk:
                return  # cut short, as pydicom will say
            total += len(inflater.decompress(chunk, 1 << 20))
    if total > _MOST_INFLATED:
        found = f"it inflates to more than {_MOST_INFLATED:,} bytes"
        raise bad(path, found, "a slice or a series", "Save it without the deflated encoding.")


def bad(path: Path, found: str, expected: str, remedy: str = EXPORT_AGAIN) -> VolumeError:
    """An error whose remedy, by default, is another export."""
    return VolumeError(path, found, expected, remedy)


def reason(error: Exception) -> str:
    """What a library says went wrong, on one line."""
    return " ".join(str(error).split())[:_REASON] or type(error).__name__


def sop_class(header: FileDataset) -> str:
    """The file's kind; "" where there is none. Its first bytes have it even if it is cut short."""
    first = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    return str(header.get("SOPClassUID", "") or first)
