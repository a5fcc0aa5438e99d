"""The list of what people label: every code as the standard has it, every name found again."""

from __future__ import annotations

from collections import Counter

import pytest

from dpcenet.volumes import structures
from dpcenet.volumes.structures import ANATOMICAL_STRUCTURE, FINDING, LEFT, RIGHT, property_of

KINDS = {property_of(name).kind for name in structures.start_names("en")}


def test_every_code_is_in_the_standards_dictionary_with_its_meaning() -> None:
    """Against pydicom's tables, which are made from the standard's own files."""
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    from pydicom.sr._concepts_dict import concepts

    known = {
        (code, meaning)
        for of_keyword in concepts["SCT"].values()
        for code, (meaning, _) in of_keyword.items()
    }
    assert len(KINDS) >= 60
    assert not (KINDS | {ANATOMICAL_STRUCTURE, FINDING, LEFT, RIGHT}) - known


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_to_start_from_are_each_one_thing(language: str) -> None:
    names = structures.start_names(language)
    assert len(names) > 100 and not [n for n, count in Counter(names).items() if count > 1]
    shown = [property_of(name) for name in names]
    assert ANATOMICAL_STRUCTURE not in {each.kind for each in shown}
    assert len({(each.kind, each.side) for each in shown}) == len(names)


def test_both_languages_name_the_same() -> None:
    english, chinese = ([property_of(n) for n in structures.start_names(x)] for x in ("en", "zh"))
    assert english == chinese


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("Left_Kidney", "Kidney", LEFT),
        ("kidney_left", "Kidney", LEFT),
        ("右肾", "Kidney", RIGHT),
        ("lung_upper_lobe_right", "Upper lobe of lung", RIGHT),
        ("vertebrae_L1", "L1 vertebra", None),
        ("LV-BP", "Left ventricle", None),
        ("left liver", "Anatomical Structure", None),
        ("livers of two mice", "Anatomical Structure", None),
        ("", "Anatomical Structure", None),
    ],
)
def test_names_as_data_sets_write_them(
    name: str, meaning: str, side: tuple[str, str] | None
) -> None:
    assert (property_of(name).kind[1], property_of(name).side) == (meaning, side)


def test_findings_are_no_organs() -> None:
    assert property_of("tumour").category == FINDING
    assert property_of("liver").category == ANATOMICAL_STRUCTURE
