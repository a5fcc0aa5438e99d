"""What labels show, by their names: SNOMED CT codes of organs, bones, vessels and findings.

The list itself is assets/structures.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from dpcenet.system.assets import asset
from dpcenet.system.structured import parse_yaml

Code = tuple[str, str]  # value and meaning in SNOMED CT
ANATOMICAL_STRUCTURE: Code = ("91723000", "Anatomical Structure")
FINDING: Code = ("49755003", "Morphologically Abnormal Structure")
LEFT: Code = ("7771000", "Left")
RIGHT: Code = ("24028007", "Right")
LANGUAGES = ("en", "zh")
_SIDES = {"en": (("left", LEFT), ("right", RIGHT)), "zh": (("左", LEFT), ("右", RIGHT))}


@dataclass(frozen=True)
class Property:
    """What a segment shows: a type, its side where there are two, and what kind of thing it is."""

    kind: Code = ANATOMICAL_STRUCTURE
    side: Code | None = None
    category: Code = ANATOMICAL_STRUCTURE


def property_of(name: str) -> Property:
    """The property of a label by its name; a name that is not in the list claims no organ."""
    return _by_name().get(_plain(name), Property())


@cache
def start_names(language: str) -> list[str]:
    """Names to choose from, "en" or "zh", with both sides where there are two, in their groups."""
    return [
        name for structure, _ in _structures() for name in _sided(structure, structure[language])
    ]


def _sided(structure: dict[str, Any], name: str) -> dict[str, Code | None]:
    """A name as it is written, with each side, and without one → the side."""
    language = "en" if name.isascii() else "zh"
    gap = " " if language == "en" else ""
    sides = _SIDES[language] if structure.get("sided") else ()
    return {name: None, **{f"{word}{gap}{name}": side for word, side in sides}}


@cache
def _structures() -> list[tuple[dict[str, Any], Code]]:
    """The entries of the list, each with the category of its group."""
    groups = parse_yaml(asset("structures.yaml").read_text("utf-8"), "structures.yaml")
    return [
        (entry, FINDING if group == "findings" else ANATOMICAL_STRUCTURE)
        for group, entries in groups.items()
        for entry in entries
    ]


@cache
def _by_name() -> dict[str, Property]:
    """Plain name → what it shows; of English ones the side may stand behind the name."""
    found = {}
    for entry, category in _structures():
        for name in (*(entry[language] for language in LANGUAGES), *entry.get("also", ())):
            for sided, side in _sided(entry, name).items():
                shown = Property((entry["code"], entry["meaning"]), side, category)
                found[_plain(sided)] = shown
                if side is not None and name.isascii():
                    found[f"{_plain(name)} {side[1].lower()}"] = shown
    return found


def _plain(name: str) -> str:
    """A name as people mean it: "Left_Kidney" and "left kidney" are one."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split())
