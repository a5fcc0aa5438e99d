"""Headers cleaned by rule, so that a SEG can refer to a series whose header breaks the standard.

highdicom copies patient and study into a SEG and refuses what the standard refuses: a birth date of
19600000, a time with colons, a character set that begins empty. What such an attribute says is put
right where its meaning is plain, and left empty elsewhere; what cannot be read at all is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset, FileDataset

UTF_8 = "ISO_IR 192"
_TEXT = {"LO": 64, "SH": 16, "PN": 64, "LT": 10_240, "ST": 1024, "UC": 0, "UT": 0, "AE": 16}
_SEXES = ("M", "F", "O", "")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_GROUPS = ("PixelMeasuresSequence", "PlaneOrientationSequence")
"""What highdicom looks for among the groups that all frames share."""


def cleaned(header: FileDataset, names: Iterable[str] = ()) -> FileDataset:
    """A copy of a header that a SEG can refer to.

    Args:
        header: of a slice or an enhanced file, without pixels.
        names: of the segments, which may need another character set than the file has.
    """
    out = deepcopy(header)
    ascii_only = all(name.isascii() for name in names)
    for tag in list(out.keys()):
        try:
            element = out[tag]
            ascii_only &= _put_right(element)
        except MemoryError:
            raise
        except Exception:  # whatever pydicom's conversion meets; see `headers.parsing`
            del out[tag]
    if out.get("PatientSex", "") not in _SEXES:
        out.PatientSex = ""
    if ascii_only and "SpecificCharacterSet" in out:
        del out.SpecificCharacterSet
    elif not ascii_only:
        out.SpecificCharacterSet = UTF_8
    _share(out)
    return out


def _put_right(element: DataElement) -> bool:
    """Clean one attribute in place; whether its text is ASCII."""
    if element.VR == "DA":
        element.value = _date(str(element.value or ""))
    elif element.VR == "TM":
        element.value = _time(str(element.value or ""))
    elif element.VR in _TEXT and element.VM <= 1:
        text = " ".join(str(element.value or "").replace("\\", " ").split())
        most = _TEXT[element.VR]
        element.value = text[:most] if most else text
        return text.isascii()
    return True


def _date(text: str) -> str:
    """YYYYMMDD of that, or of 1960.01.31 as old files have it; "" of anything else."""
    digits = re.sub(r"[.\-/]", "", text.strip())
    if not re.fullmatch(r"\d{8}", digits):
        return ""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return ""
    return digits


def _time(text: str) -> str:
    """HHMMSS of that, or of 12:00:00; "" of anything else."""
    digits = text.strip().replace(":", "")
    return digits if _TIME.fullmatch(digits) else ""


def _share(header: Dataset) -> None:
    """Give all frames the groups that each of them has by itself, where they agree."""
    frames = header.get("PerFrameFunctionalGroupsSequence", None)
    shared = header.get("SharedFunctionalGroupsSequence", None)
    if not frames or not shared:
        return
    for name in _GROUPS:
        groups = [frame.get(name, None) for frame in frames]
        if name not in shared[0] and groups[0] and all(group == groups[0] for group in groups):
            setattr(shared[0], name, groups[0])
