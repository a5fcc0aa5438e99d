"""The segments of a DICOM SEG: which label each one holds, what it shows, and what made it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dpcenet.volumes.dicom.headers import bad
from dpcenet.volumes.scan_file import Code as TermCode
from dpcenet.volumes.structures import ANATOMICAL_STRUCTURE, Code, property_of

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom import Dataset


SCT = "SCT"
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
        model: which weights, such as the first digits of their sha256; "" where none took part.
        kind: in DICOM's words: MANUAL is drawn by a person, SEMIAUTOMATIC by both.
        name: of the algorithm; no file says one of a mask that was drawn.
    """

    version: str
    model: str
    kind: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] = "AUTOMATIC"
    name: str = "dpcenet"


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

    drawn = algorithm.kind == "MANUAL"  # the standard wants no algorithm of these
    maker = hd.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.cid7162.ArtificialIntelligence,
        version="+".join(filter(None, (algorithm.version, algorithm.model)))[:_LONG_STRING],
    )
    found = []
    for number, (value, name) in enumerate(names.items(), start=1):
        shown = property_of(name)
        code = terms.get(value) or TermCode(SCT, *shown.kind)
        segment = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name.replace("\\", "/")[:_LONG_STRING],  # between two values in DICOM
            segmented_property_category=_coded(shown.category),
            segmented_property_type=_coded((code.value, code.meaning), code.scheme),
            algorithm_type=algorithm.kind,
            algorithm_identification=None if drawn else maker,
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
    return values, {values[each.segment_number]: _label(each) for each in described}


def _label(segment: Dataset) -> str:
    """A segment's name; one with a backslash comes as several values."""
    label = segment.get("SegmentLabel", None) or ""
    return label if isinstance(label, str) else "/".join(map(str, label))


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


@contextmanager
def closing(seg: Segmentation) -> Iterator[Segmentation]:
    """Close a segmentation's table of frames at the end.

    highdicom keeps it in a database in memory and has no call that closes it; Python 3.13 warns of
    databases that are left open.
    """
    try:
        yield seg
    finally:
        table = getattr(seg, "_db_con", None)
        if table is not None:
            table.close()


def _coded(code: Code, scheme: str = SCT) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(code[0], scheme, code[1])
