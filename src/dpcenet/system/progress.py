"""How far a command is: a bar in a terminal, lines in a file or notebook, JSON for programs.

All of it goes to standard error, so that what a command answers stays alone on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Literal

Advance = Callable[[int, str], None]
Kind = Literal["bar", "json", "none"]

LINE_EVERY_S = 10.0  # in a file: a log is read later, and should stay short
FAST_EVERY_S = 0.5  # in a notebook, where a line replaces the one before, and for programs
_KIND: ContextVar[Kind] = ContextVar("progress", default="bar")


@contextmanager
def progress_as(kind: Kind) -> Iterator[None]:
    """What is shown within: a bar (or lines, where there is no terminal), JSON, or nothing."""
    token = _KIND.set(kind)
    try:
        yield
    finally:
        _KIND.reset(token)


def say(text: str, quiet: bool = False) -> None:
    """Say in a line what a command is about to do, such as what it will take."""
    kind = "none" if quiet else _KIND.get()
    if kind == "json":
        _write(json.dumps({"event": "state", "text": text}) + "\n")
    elif kind == "bar":
        _write(f"{text}\n")


@contextmanager
def progress_bar(title: str, total: int, start: int = 0, quiet: bool = False) -> Iterator[Advance]:
    """Show how many of `total` are done, with a note and the time left.

    Yields:
        a function of (how many are done by now, a short note).
    """
    kind = "none" if quiet else _KIND.get()
    if kind == "none":
        yield lambda done, note: None
        return
    if kind == "bar":
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal and not console.is_jupyter:
            with _bar(console, title, total, start) as advance:
                yield advance
            return
        lines = _Lines(title, total, start, "notebook" if console.is_jupyter else "file")
    else:
        lines = _Lines(title, total, start, "json")
    try:
        yield lines.advance
    finally:
        lines.end()


@contextmanager
def _bar(console: Any, title: str, total: int, start: int) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=start, note="")

        def advance(done: int, note: str) -> None:
            bar.update(task, completed=done, note=note)

        yield advance


class _Lines:
    """Progress as lines; not more often than somebody wants to read, but the last one always."""

    def __init__(
        self, title: str, total: int, start: int, form: Literal["json", "notebook", "file"]
    ) -> None:
        self.title, self.total, self.form = title, total, form
        self.start, self.began = start, time.monotonic()
        self.every = LINE_EVERY_S if form == "file" else FAST_EVERY_S
        self.shown = float("-inf")  # when the last line was written
        self.latest: tuple[int, str] = (start, "")
        self.waits = False

    def advance(self, done: int, note: str) -> None:
        self.latest, self.waits = (done, note), True
        if done >= self.total or time.monotonic() - self.shown >= self.every:
            self._show()

    def end(self) -> None:
        if self.waits:
            self._show()
        if self.form == "notebook":
            _write("\n")

    def _show(self) -> None:
        (done, note), passed = self.latest, time.monotonic() - self.began
        self.shown, self.waits = time.monotonic(), False
        fresh = done - self.start
        left = passed / fresh * (self.total - done) if fresh > 0 else None
        if self.form == "json":
            facts = {"event": "progress", "what": self.title, "done": done, "total": self.total}
            known = None if left is None else round(left, 1)
            times = {"seconds": round(passed, 1), "seconds_left": known}
            _write(json.dumps({**facts, "note": note, **times}) + "\n")
            return
        ahead = f", {in_words(left)} left" if left and done < self.total else ""
        line = f"{self.title} {done}/{self.total} {note}{ahead}".rstrip()
        # In a notebook a carriage return replaces the line; the blanks cover a longer one.
        _write(f"\r{line:<100}" if self.form == "notebook" else f"{line}\n")


def in_words(seconds: float) -> str:
    """A time as people say it: "about 40 s", "about 3 min", "about 2.5 h"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _write(text: str) -> None:
    """Nothing where standard error is closed or its disk full: no work ends for its progress."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


@contextmanager
def timed_step(say: Callable[[str], None], title: str, about_s: float) -> Iterator[None]:
    """Say what begins and about how long it takes; at its end, how long it took.

    Args:
        say: is given each line.
        title: what begins.
        about_s: seconds that it is expected to take.
    """
    say(f"{title} (about {about_s:.0f} s) …")
    start = time.perf_counter()
    yield
    say(f"  done in {time.perf_counter() - start:.1f} s")
