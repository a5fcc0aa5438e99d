"""The segments of a DICOM SEG: which label each one holds, what it shows, and what made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from dpcenet.volumes.dicom.headers import bad
from dpcenet.volumes.facts import Code as TermCode

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import CodedConcept


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


RESEARCH = "For research use only."


_VALUE = re.compile(r"Label (\d+) of the labelled scan")


_COLOURS = (  # matplotlib's "tab10"; viewers draw segments without one all alike
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
)


_LONG_STRING = 64  # characters of DICOM's LO


@dataclass(frozen=True)
class Algorithm:
    """What made a mask.

    Attributes:
        version: of dpcenet.
        model: which weights, such as the first digits of their sha256.
    """

    version: str
    model: str


def describe(
    names: Mapping[int, str],
    algorithm: Algorithm,
    terms: Mapping[int, TermCode] = MappingProxyType({}),
) -> list[SegmentDescription]:
    """One segment for each label, numbered 1, 2, … as the standard wants.

    Args:
        names: label value → name, in the order of the segments.
        algorithm: what made the mask.
        terms: label value → what it shows; by default what its name says.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    maker = hd.AlgorithmIdentificationSequence(
        name="dpcenet",
        family=codes.cid7162.ArtificialIntelligence,
        version=f"{algorithm.version}+{algorithm.model}"[:_LONG_STRING],
    )
    found = []
    for number, (value, name) in enumerate(names.items(), start=1):
        shown = property_of(name)
        code = terms.get(value) or TermCode(SCT, *shown.kind)
        segment = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:_LONG_STRING],
            segmented_property_category=_coded(ANATOMICAL_STRUCTURE),
            segmented_property_type=_coded((code.value, code.meaning), code.scheme),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=maker,
            display_color=hd.color.CIELabColor.from_string(_COLOURS[(number - 1) % len(_COLOURS)]),
        )
        segment.SegmentDescription = f"Label {value} of the labelled scan. {RESEARCH}"
        if shown.side is not None:
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(shown.side)]
        found.append(segment)
    return found


def labels_of(seg: Segmentation) -> tuple[dict[int, int], dict[int, str]]:
    """Which label each segment holds, and the labels' names.

    Returns:
        segment number → label value: what `describe` wrote, where each segment has it, else the
        segment's number; and label value → name.
    """
    described = [seg.get_segment_description(number) for number in seg.segment_numbers]
    numbers = [int(each.segment_number) for each in described]
    texts = [str(each.get("SegmentDescription", "")) for each in described]
    written = [int(match[1]) for text in texts if (match := _VALUE.match(text))]
    ours = len(set(written)) == len(numbers) and max(written) <= np.iinfo(np.uint16).max
    values = dict(zip(numbers, written if ours else numbers, strict=True))
    return values, {values[each.segment_number]: str(each.segment_label) for each in described}


def codes_of(seg: Segmentation, values: Mapping[int, int]) -> dict[int, TermCode]:
    """Label value → what the segment shows, where the file says more than "a structure"."""
    found = {}
    for number, value in values.items():
        items = seg.get_segment_description(number).get("SegmentedPropertyTypeCodeSequence", None)
        texts = [
            str(items[0].get(name, "") if items else "")
            for name in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
        ]
        if all(texts) and texts[1] != ANATOMICAL_STRUCTURE[0]:
            found[value] = TermCode(*texts)
    return found


def import_highdicom(path: Path) -> Any:
    """The module highdicom.

    Raises:
        VolumeError: it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        remedy = "pip install 'dpcenet[dicom]'"
        raise bad(path, "highdicom is not installed", "it, for a DICOM SEG", remedy) from error
    return highdicom


def _coded(code: Code, scheme: str = SCT) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(code[0], scheme, code[1])
