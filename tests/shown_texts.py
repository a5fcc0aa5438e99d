"""What a person reads on a page that has several languages."""

from __future__ import annotations

from html.parser import HTMLParser

QUOTED = {"pre", "code", "style", "script", "dl", "title"}  # commands and settings
EMPTY = {"meta", "input", "br", "img"}
SENTENCE = r"[A-Za-z]{2,}[ ,]+[A-Za-z]{2,}[ ,]+[A-Za-z]{2,}"
CHINESE = r"[\u4e00-\u9fff]"


class Shown(HTMLParser):
    """The texts of a page that are seen in one language, but for what it quotes."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.language = language
        self.path: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY:
            self.path.append((tag, "" if tag == "html" else dict(attrs).get("lang") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Shapes of a drawing; they hold no text."""

    def handle_endtag(self, tag: str) -> None:
        while self.path.pop()[0] != tag:  # <p> and <li> may be left open
            pass

    def handle_data(self, data: str) -> None:
        languages = {language for _, language in self.path} - {""}
        quoted = any(tag in QUOTED and not language for tag, language in self.path)
        if data.strip() and not quoted and languages <= {self.language}:
            self.texts.append(" ".join(data.split()))


def shown(page: str, language: str) -> list[str]:
    parser = Shown(language)
    parser.feed(page)
    return parser.texts
