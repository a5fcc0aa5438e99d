"""What a person sees while something takes long: bars, and steps with their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(title: str, total: int, start: int = 0, quiet: bool = False) -> Iterator[Advance]:
    """A bar on standard error with a note and the time left.

    Yields:
        a function of (how many are done by now, a short note).
    """
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(title, total=total, completed=start, note="")

        def advance(done: int, note: str) -> None:
            bar.update(task, completed=done, note=note)

        yield advance


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
