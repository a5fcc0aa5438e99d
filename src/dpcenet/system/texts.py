"""What the report says, in each language: assets/texts/report.LANGUAGE.json, one key for one text.

Tables in files and in the terminal are English; the page has every language, and a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from dpcenet.system.assets import asset
from dpcenet.system.structured import parse_json

LANGUAGES = ("en", "zh")
Words = Mapping[str, str]
T = TypeVar("T")


@cache
def words(language: str = "en") -> Words:
    """The texts of a language by their keys."""
    text = asset(f"texts/report.{language}.json").read_text("utf-8")
    return MappingProxyType(parse_json(text, "texts"))


class Saying(NamedTuple):
    """A text by its key, and what is filled into its blanks: the same in every language."""

    key: str
    values: tuple[tuple[str, object], ...] = ()

    def said(self, say: Words | None = None) -> str:
        """The text in a language; English by default."""
        return (say or words())[self.key].format(**dict(self.values))

    def __str__(self) -> str:
        return self.said()


def saying(key: str, **values: object) -> Saying:
    """The text of a key with its blanks filled."""
    return Saying(key, tuple(values.items()))


def joined(parts: Iterable[Saying], say: Words | None = None) -> str:
    """Several texts in a line; English by default."""
    return (say or words())["list"].join(part.said(say) for part in parts)


def in_each_language(make: Callable[[Words], T]) -> dict[str, T]:
    """Language → what is made with its texts."""
    return {language: make(words(language)) for language in LANGUAGES}


def legend(of: Words) -> dict[str, str]:
    """Term → what it means."""
    return {key.removeprefix("term."): text for key, text in of.items() if key.startswith("term.")}
