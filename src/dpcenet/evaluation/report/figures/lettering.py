"""Texts in figures, and a figure as a drawing within a page: every language, one is shown.

The browser writes the texts with its own fonts: where a report is made, no Chinese one is needed.
"""

from __future__ import annotations

import html
import io
import re
from typing import Protocol

import matplotlib
from matplotlib.figure import Figure

from dpcenet.system.texts import Saying, in_each_language, saying

_TEXT = re.compile(r"<text ([^>]*)>([^<]*)</text>")
_NOT_OF_A_PAGE = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->| xmlns(?::\w+)?=\"[^\"]*\"", re.S)


class Say(Protocol):
    """Gives a text of `system.texts` for a figure, with its blanks filled."""

    def __call__(self, key: str, **values: object) -> str: ...


def in_english(key: str, **values: object) -> str:
    """The English text."""
    return str(saying(key, **values))


class Lettering:
    """Gives the English texts of a figure, and remembers what they are in every language."""

    def __init__(self) -> None:
        self.sayings: dict[str, Saying] = {}

    def __call__(self, key: str, **values: object) -> str:
        said = saying(key, **values)
        self.sayings[str(said)] = said
        return str(said)


def drawing(figure: Figure, lettering: Lettering, alt: str) -> str:
    """A figure as an <svg> for a page.

    Args:
        figure: with English texts.
        lettering: the texts that have other languages.
        alt: what the figure shows, for who cannot see it.
    """
    stream = io.StringIO()
    # Texts stay texts; the names within are the same each time.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dpcenet"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = _NOT_OF_A_PAGE.sub("", stream.getvalue()[stream.getvalue().index("<svg") :])
    named = f'<svg role="img" aria-label="{html.escape(alt)}"'
    svg = _TEXT.sub(lambda found: _in_each_language(found, lettering), svg)
    return svg.replace("<svg", named, 1)


def _in_each_language(found: re.Match[str], lettering: Lettering) -> str:
    """A <text> for each language, or the one there is."""
    place, text = found.groups()
    said = lettering.sayings.get(html.unescape(text))
    if said is None:
        return found.group()
    return "".join(
        f'<text lang="{language}" {place}>{html.escape(translated)}</text>'
        for language, translated in in_each_language(said.said).items()
    )
