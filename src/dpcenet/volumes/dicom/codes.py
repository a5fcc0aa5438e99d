"""What a label is called in SNOMED CT, by the words that data sets use for it.

Source: DICOM PS3.16, CID 7150 and the codes that pydicom carries of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SCT = "SCT"
Code = tuple[str, str]  # value and meaning in SNOMED CT

ANATOMICAL_STRUCTURE: Code = ("91723000", "Anatomical Structure")
LEFT: Code = ("7771000", "Left")
RIGHT: Code = ("24028007", "Right")


@dataclass(frozen=True)
class Property:
    """What a segment shows: a type, and its side where there are two."""

    kind: Code = ANATOMICAL_STRUCTURE
    side: Code | None = None


_KIDNEY: Code = ("64033007", "Kidney")
_LEFT_VENTRICLE = Property(("87878005", "Left ventricle"))
_RIGHT_VENTRICLE = Property(("53085002", "Right ventricle"))
_LEFT_MYOCARDIUM = Property(("49848007", "Left Ventricle Myocardium"))
_PROPERTIES = {
    "liver": Property(("10200004", "Liver")),
    "spleen": Property(("78961009", "Spleen")),
    "kidney": Property(_KIDNEY),
    "left kidney": Property(_KIDNEY, LEFT),
    "kidney left": Property(_KIDNEY, LEFT),
    "right kidney": Property(_KIDNEY, RIGHT),
    "kidney right": Property(_KIDNEY, RIGHT),
    "left ventricle": _LEFT_VENTRICLE,
    "lv": _LEFT_VENTRICLE,
    "lv bp": _LEFT_VENTRICLE,
    "right ventricle": _RIGHT_VENTRICLE,
    "rv": _RIGHT_VENTRICLE,
    "left ventricle myocardium": _LEFT_MYOCARDIUM,
    "lv myo": _LEFT_MYOCARDIUM,
}


def property_of(name: str) -> Property:
    """The property of a label by its name; a name that is not in the table claims no organ."""
    words = re.sub(r"[^a-z]+", " ", name.lower()).strip()
    return _PROPERTIES.get(words, Property())
