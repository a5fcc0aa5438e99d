"""What written pages say, in each language: assets/texts/PART.LANGUAGE.json, one key for one text.

The report and the review have every language, and a switch (`assets/templates/base.html`); the app
takes the sentences of the program (`said`) from here. Tables in files and in the terminal are
English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from dpcenet.system.assets import asset
from dpcenet.system.structured import parse_json

LANGUAGES = ("en", "zh")
PARTS = ("page", "report", "review", "said")
SAID = "said"
"""The part with the sentences that the program writes into files: reasons, notes on a scan."""

Words = Mapping[str, str]
T = TypeVar("T")


@cache
def words(language: str = "en") -> Words:
    """The texts of a language by their keys, of all parts."""
    every: dict[str, str] = {}
    for part in PARTS:
        every.update(words_of(part, language))
    return MappingProxyType(every)


def words_of(part: str, language: str) -> dict[str, str]:
    """The texts of one part in a language, by their keys."""
    text = asset(f"texts/{part}.{language}.json").read_text("utf-8")
    return parse_json(text, f"texts of {part}")


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


def said(sentence: str, say: Words) -> str:
    """A sentence of the program in a language.

    Files hold such sentences in English, so the text is found by its English form. A value in it
    may be such a sentence, too (`app/page/js/i18n.js` does the same).

    Args:
        sentence: English, as the program wrote it.
        say: the texts of the language.

    Returns:
        the sentence as it is where it is none of the part `SAID`.
    """
    for pattern, key in _sentences():
        if found := pattern.fullmatch(sentence):
            return say[key].format(**{k: said(v, say) for k, v in found.groupdict().items()})
    return sentence


@cache
def _sentences() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each English sentence as a pattern whose groups are its blanks, and its key."""
    blank = re.compile(r"\\\{(\w+)\\\}")
    return tuple(
        (re.compile(blank.sub(r"(?P<\1>.+?)", re.escape(text))), key)
        for key, text in words_of(SAID, "en").items()
    )


def legend(of: Words) -> dict[str, str]:
    """Term → what it means."""
    return {key.removeprefix("term."): text for key, text in of.items() if key.startswith("term.")}
